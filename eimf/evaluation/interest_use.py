"""How a multi-interest model uses its interests: a model whose interests are all alike has collapsed to one vector.

Shapes: B cases of a batch, K interests, D width, N items, C cases that were looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parametrize

from eimf.backbones.base import Backbone
from eimf.data.eval_cases import EvalCases
from eimf.data.histories import Histories
from eimf.evaluation.eval_batches import EvalBatch, eval_batches

ALIKE = 0.999
"""Interests of a user with at least this cosine are one interest: MIND fills the places that a short history lacks with
copies."""
_SCORES = 1 << 23
"""Scores of four interests held at a time."""
_POSITIONS = 6400
"""Most positions of histories encoded together."""


@dataclass(frozen=True)
class InterestUse:
    """Of `cases` histories: `several`, the share that has at least two different interests; `different`, the mean
    number of these; `cosine`, the mean over all pairs of a history's interests; `top_items`, the mean number of
    different items that its interests put first; `wins` [K], how often each place has the interest that gives the item
    recommended first."""

    cases: int
    several: float
    different: float
    cosine: float
    top_items: float
    wins: tuple[float, ...]

    @property
    def used(self) -> float:
        """How many interests are used, as if equally often: exp of the entropy of `wins`. From 1 to K."""
        shares = np.array([share for share in self.wins if share > 0])
        return float(np.exp(-(shares * np.log(shares)).sum()))


@torch.no_grad()
@parametrize.cached()
def interest_use(
    backbone: Backbone,
    histories: Histories,
    cases: EvalCases,
    *,
    max_length: int,
    keep_seen: bool,
    most: int = 1000,
    seed: int = 2026,
) -> InterestUse:
    """The use of the interests of a `backbone` on at most `most` of the `cases`, at random. As in `rank_users`, items
    of the history are not recommended unless `keep_seen` says so. Raises ValueError for a model with one interest, or
    without cases."""
    backbone.eval()
    table, drawn = backbone.item_vectors, _some(cases, most, seed)
    parts = []
    for batch, interests in _encoded(backbone, histories, drawn, max_length):
        if interests.shape[1] < 2:
            raise ValueError("the model has one interest")
        top_item, top_score = _best(interests, table, None if keep_seen else batch)
        winner = F.one_hot(top_score.argmax(dim=1), interests.shape[1])  # the first of equal ones
        parts.append((*_alikeness(interests), _different_values(top_item), winner))
    if not parts:
        raise ValueError("there is no case to look at")
    cosine, different, top_items, winner = (torch.cat(column).double() for column in zip(*parts, strict=True))
    return InterestUse(
        cases=len(winner),
        several=float((different > 1).double().mean()),
        different=float(different.mean()),
        cosine=float(cosine.mean()),
        top_items=float(top_items.mean()),
        wins=tuple(winner.mean(dim=0).tolist()),
    )


def _some(cases: EvalCases, most: int, seed: int) -> EvalCases:
    """At most so many of the cases, at random, in their order, each with its first relevant item only."""
    chosen = np.arange(len(cases))
    if len(chosen) > most:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, most, replace=False))
    relevant = cases.item_idx[cases.offsets[:-1][chosen]]
    return EvalCases(cases.user_idx[chosen], cases.history_end[chosen], np.arange(len(chosen) + 1), relevant)


def _encoded(
    backbone: Backbone, histories: Histories, cases: EvalCases, max_length: int
) -> Iterator[tuple[EvalBatch, Tensor]]:
    """Batches of the cases with the interests [B, K, D] after their histories."""
    rows = max(1, _SCORES // (4 * len(backbone.item_vectors)))
    encode = backbone.inference_fn(int(cases.history_end.clip(max=max_length).sum()))
    for batch in eval_batches(histories, cases, max_length, rows, _POSITIONS):
        times = batch.times if backbone.uses_timestamps else None
        yield batch, encode(batch.item_idx, batch.lengths, times)


def _best(interests: Tensor, table: Tensor, history: EvalBatch | None) -> tuple[Tensor, Tensor]:
    """The row of the item that each interest puts first, and its score, [B, K] each; without items of the `history`."""
    scores = interests @ table.T  # [B, K, N]
    if history is not None:
        scores[history.history_row, :, history.history_item_idx - 1] = -torch.inf
    best = scores.max(dim=2)
    return best.indices, best.values


def _alikeness(interests: Tensor) -> tuple[Tensor, Tensor]:
    """The mean cosine of the pairs of each history's interests, and how many of these are unlike all before them, [B]
    each."""
    unit = F.normalize(interests, dim=2)
    cosines = unit @ unit.mT  # [B, K, K]
    count = interests.shape[1]
    before = torch.ones(count, count).tril(diagonal=-1).bool()
    is_copy = ((cosines >= ALIKE) & before).any(dim=2)
    return cosines[:, before].mean(dim=1), count - is_copy.sum(dim=1)


def _different_values(values: Tensor) -> Tensor:
    """How many different values each row of `values` [B, K] has, [B]."""
    ordered = values.sort(dim=1).values
    return 1 + (ordered.diff(dim=1) != 0).sum(dim=1)
