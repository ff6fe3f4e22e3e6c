"""What an ESIM artifact says about what its users do next, found without any training.

An item's score for a user is the largest cosine between the item's text and the interests of the user's cluster. The
AUC of a user is how often the validation item scores above an item drawn by popularity, ties counted half: .5 where the
interests say nothing. As in the rankings, items of the user's training history do not count. A model with item texts
has the user's own history already, so each source is also added to that: history + w source, where w is what is best
for the other half of the users. Our decision; it takes seconds, so LLMs and prompts can be compared before a training
is spent on them. Of very many users some are drawn. The test item is not looked at.

Shapes: U users read for, n items drawn for a user, C clusters, M interests of a cluster, S text width, W weights.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from eimf import schema
from eimf.data.histories import Histories
from eimf.metrics import paired_difference
from eimf.semantics.controls import apply_control, can_shuffle, user_text_vectors
from eimf.semantics.supervision import Supervision

CONTROLS = ("shuffled", "random", "cluster", "titles")
"""Those of `derive`; `random` and `cluster` have no place in text space and stand for chance."""
HISTORY = "history"
"""The mean text of the user's own training items: what text says without clusters and without an LLM."""

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
"""What a source may count for beside the history."""

MOST = 2**16
"""Users read for: the standard error is a 256th of the spread of users then, and more of them would only take time."""
_BLOCK = 256


@dataclass(frozen=True)
class SourceAUC:
    """AUC of every user read for, [U] float64: of a source `alone`, and of the user's history together with it."""

    alone: Tensor
    with_history: Tensor


Readings = dict[str, SourceAUC]
"""By the name of the source."""


def probe(
    supervision: Supervision, histories: Histories, seed: int, drawn: int = 100, most: int = MOST
) -> tuple[Tensor, Readings]:
    """The users read for [U], `most` of those under supervision; and what each source says: `true`, each of CONTROLS,
    HISTORY. `shuffled` is left out where only one cluster has interests. `seed` draws the users, the controls, the
    items, and the halves of the users."""
    generator = torch.Generator().manual_seed(seed)
    cases = histories.cases[schema.VALID]
    user_idx, item_idx = torch.from_numpy(cases.user_idx[cases.case]), torch.from_numpy(cases.item_idx)  # [R]
    relevant = (supervision.cluster[user_idx] >= 0).nonzero()[:, 0]
    if len(relevant) > most:
        relevant = relevant[torch.randperm(len(relevant), generator=generator)[:most]].sort().values
    users, target = user_idx[relevant], item_idx[relevant]
    history_end = torch.from_numpy(cases.history_end[cases.case])[relevant]
    names = ["true", *(name for name in CONTROLS if name != "shuffled" or can_shuffle(supervision))]
    if not len(users):
        nobody = torch.zeros(0, dtype=torch.float64)
        return users, {name: SourceAUC(nobody, nobody) for name in (*names, HISTORY)}
    frequency = torch.from_numpy(histories.frequency()).double()
    others = torch.multinomial(frequency, len(users) * drawn, replacement=True, generator=generator) + 1
    candidates = torch.cat([target.unsqueeze(1), others.view(-1, drawn)], dim=1)  # [U, 1 + n]
    sources = [apply_control(supervision, name, histories, seed) for name in names]
    sources.append(_own_texts(supervision, histories))
    distinct, number = users.unique(return_inverse=True)
    half = (torch.randperm(len(distinct), generator=generator) < len(distinct) // 2)[number]
    blocks = zip(*(rows.split(_BLOCK) for rows in (users, history_end, candidates)), strict=True)
    # [sources, U, W] and, alone, [sources, U]: the scores themselves are held for a block of users only.
    mixed, alone = (
        torch.cat(parts, dim=1) for parts in zip(*(_read(sources, histories, *block) for block in blocks), strict=True)
    )
    found = {
        name: SourceAUC(each, _other_half_decides(both, half))
        for name, each, both in zip(names, alone, mixed, strict=False)
    }
    return users, {**found, HISTORY: SourceAUC(alone[-1], alone[-1])}


def gain(found: Readings, source: str) -> tuple[float, float]:
    """What a source adds to the AUC of the history: the mean over users, and its standard error; no gain where there
    are fewer than two users."""
    history, both = found[HISTORY].alone, found[source].with_history
    return paired_difference(history, both)[:2] if len(history) > 1 else (0.0, 0.0)


def readings_table(found: Readings, users: Tensor) -> pa.Table:
    """As `schema.READINGS`, of the `users` [U] read for."""
    return pa.table(
        {
            schema.SOURCE: np.repeat(list(found), len(users)),
            schema.USER: np.tile(users.numpy(), len(found)),
            schema.AUC: torch.cat([reading.alone for reading in found.values()]).numpy(),
            schema.AUC_WITH_HISTORY: torch.cat([reading.with_history for reading in found.values()]).numpy(),
        },
        schema=schema.READINGS,
    )


def read_readings(table: pa.Table) -> Readings:
    """What `readings_table` made."""
    source = table[schema.SOURCE].to_numpy()
    columns = [table[name].to_numpy() for name in (schema.AUC, schema.AUC_WITH_HISTORY)]
    names = dict.fromkeys(source.tolist())
    return {name: SourceAUC(*(torch.from_numpy(column[source == name]) for column in columns)) for name in names}


def _read(
    sources: list[Supervision], histories: Histories, users: Tensor, history_end: Tensor, candidates: Tensor
) -> tuple[Tensor, Tensor]:
    """AUCs of some users with candidates [., 1 + n]: of the last source plus each of WEIGHTS times every other one,
    [sources - 1, ., W], and of every source alone, [sources, .]."""
    counted = ~_known(histories, users, history_end, candidates)
    text = sources[-1].item_text[candidates - 1]  # [., 1 + n, S]
    *scores, own = (_scores(text, source, users) for source in sources)
    mixed = [torch.stack([_auc(own + weight * each, counted) for weight in WEIGHTS], dim=1) for each in scores]
    return torch.stack(mixed), torch.stack([_auc(each, counted) for each in (*scores, own)])


def _known(histories: Histories, users: Tensor, history_end: Tensor, candidates: Tensor) -> Tensor:
    """Which of each user's candidates [U, 1 + n] do not count beside the first: it again, and items of the history."""
    row, event = histories.first_events(users.numpy(), history_end.numpy())
    had = torch.from_numpy(row * (histories.num_items + 1) + histories.item_idx[event])
    each = torch.arange(len(users)).unsqueeze(1) * (histories.num_items + 1) + candidates
    return torch.isin(each, had) | (candidates == candidates[:, :1])


def _other_half_decides(mixed: Tensor, half: Tensor) -> Tensor:
    """Of AUCs [U, W], each user's at the weight that is best for the users of the other half: [U]."""
    best = [mixed[~half].mean(dim=0).argmax(), mixed[half].mean(dim=0).argmax()]
    return torch.where(half, mixed[:, best[0]], mixed[:, best[1]])


def _own_texts(supervision: Supervision, histories: Histories) -> Supervision:
    """Every user a cluster of its own, with one interest: the mean text of its training items."""
    return replace(
        supervision,
        semantics=user_text_vectors(supervision, histories).unsqueeze(1),
        present=torch.ones(histories.num_users, 1, dtype=torch.bool),
        cluster=torch.arange(histories.num_users),
    )


def _scores(text: Tensor, source: Supervision, users: Tensor) -> Tensor:
    """Of some users' candidates with texts [., 1 + n, S]: [., 1 + n]."""
    cluster = source.cluster[users]
    cosines = text @ source.semantics[cluster].mT  # [., 1 + n, M]
    return cosines.masked_fill(~source.present[cluster].unsqueeze(1), -torch.inf).amax(dim=2)


def _auc(scores: Tensor, counted: Tensor) -> Tensor:
    """Of scores [U, 1 + n], the first one's among those `counted` [U, 1 + n]; .5 where there is none: [U]."""
    own, other, counted = scores[:, :1], scores[:, 1:], counted[:, 1:]
    above = (own > other).double() + (own == other).double() / 2
    return torch.where(counted.any(dim=1), (above * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1), 0.5)
