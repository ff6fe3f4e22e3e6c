"""Sources side by side for the conditional logit, and how well weights that others were fitted on predict a choice.

Everybody's choice is judged by weights that were fitted on the other half of the people.

Shapes: C cases, F columns of all sources, N items.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eimf.choice.cases import Choices
from eimf.choice.logit import Block, Blocks, fit_logit
from eimf.choice.sources import Source, column_ranges
from eimf.metrics import NDCG_CUTOFF

_NUMBERS = 1 << 22
"""Scores of a block."""


@dataclass(frozen=True)
class Judged:
    """How well each case [C] was predicted: `nats`, the log-probability of the item that was chosen, and its `rank`."""

    nats: np.ndarray
    rank: np.ndarray

    @property
    def ndcg(self) -> np.ndarray:
        """NDCG@10 of each case, [C]."""
        return np.where(self.rank <= NDCG_CUTOFF, 1 / np.log2(self.rank + 1), 0)


class Design:
    """The columns of some sources for the same choices, each divided by its spread over items."""

    def __init__(self, sources: Sequence[Source], choices: Choices) -> None:
        self.sources, self.choices = list(sources), choices
        self.ranges = dict(zip([source.name for source in sources], column_ranges(sources), strict=True))
        self.scale = self._spread()

    @property
    def width(self) -> int:
        """F."""
        return sum(source.columns for source in self.sources)

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Which columns belong to the sources of these names, [F] bool."""
        chosen = np.zeros(self.width, bool)
        for name in names:
            chosen[self.ranges[name]] = True
        return chosen

    def blocks(self, cases: Sequence[slice]) -> Blocks:
        """The cases of some consecutive blocks."""

        def generate() -> Iterator[Block]:
            for block in cases:
                yield self._block(block)

        return generate

    def halves(self) -> tuple[list[slice], list[slice]]:
        """The cases in two halves, each in consecutive blocks, by turns: the cases are sorted by user, and each user
        has at most one."""
        num_items = self._num_items
        step = max(1, min(_NUMBERS // (max(1, self.width) * num_items), -(-len(self.choices) // 8)))
        every = [slice(start, min(start + step, len(self.choices))) for start in range(0, len(self.choices), step)]
        return every[::2], every[1::2]

    def _block(self, cases: slice) -> Block:
        scores = np.concatenate([source.scores(self.choices, cases) for source in self.sources], axis=1)
        case, row = self.choices.excluded(cases)
        other = row != self.choices.chosen[cases][case]
        return Block(scores / self.scale[:, None], self.choices.chosen[cases], case[other], row[other])

    @property
    def _num_items(self) -> int:
        return self.sources[0].scores(self.choices, slice(0, 1)).shape[2]

    def _spread(self) -> np.ndarray:
        """The spread of each column over the items, [F] float32: 1 if it has none."""
        few = slice(0, min(64, len(self.choices)))
        scores = np.concatenate([source.scores(self.choices, few) for source in self.sources], axis=1)
        spread = np.sqrt(scores.var(axis=2, dtype=np.float64).mean(axis=0))
        return np.where(spread > 1e-9, spread, 1).astype(np.float32)


def fit(design: Design, names: Sequence[str], cases: Sequence[slice], begin: np.ndarray | None = None) -> np.ndarray:
    """The weights [F] of the sources of these names, fitted on these cases; 0 for all others."""
    return fit_logit(design.blocks(cases), design.columns(names), begin=begin)


def judge(design: Design, weights: np.ndarray, cases: Sequence[slice]) -> Judged:
    """How well weights [F] predict these cases, in their order. A tie counts against the item that was chosen."""
    nats, rank = [], []
    for block in design.blocks(cases)():
        total = block.total(weights)
        own = np.take_along_axis(total, block.chosen[:, None], axis=1)
        rank.append((total >= own).sum(axis=1))
        largest = total.max(axis=1, keepdims=True)
        sums = np.exp(total - largest).sum(axis=1, dtype=np.float64)
        nats.append((own - largest)[:, 0].astype(np.float64) - np.log(sums))
    return Judged(np.concatenate(nats), np.concatenate(rank))


def cross_fit(
    design: Design, names: Sequence[str], begin: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[Judged, tuple[np.ndarray, np.ndarray]]:
    """How well the sources of these names predict the choices of each half of the people by weights that were fitted on
    the other half; and the weights of both halves. `begin` are such weights, and save steps."""
    halves = design.halves()
    weights = tuple(
        fit(design, names, half, begin[number] if begin else None) for number, half in enumerate(halves)
    )
    parts = [judge(design, weights[1 - number], half) for number, half in enumerate(halves)]
    order = np.argsort(np.concatenate([_numbers(half) for half in halves]))
    return Judged(*(np.concatenate([getattr(part, name) for part in parts])[order] for name in ("nats", "rank"))), (
        weights[0],
        weights[1],
    )


def _numbers(blocks: Sequence[slice]) -> np.ndarray:
    return np.concatenate([np.arange(block.start, block.stop) for block in blocks])
