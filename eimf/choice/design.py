"""Sources side by side for the conditional logit, and how well weights that others were fitted on predict a choice.

Everybody's choice is judged by weights that were fitted on the other half of the people.

Shapes: C cases, F columns of all sources, N items, A sets of weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eimf.choice.cases import Choices
from eimf.choice.logit import Block, Blocks, fit_curved, without
from eimf.choice.sources import Source, column_ranges
from eimf.metrics import NDCG_CUTOFF

_NUMBERS = 1 << 22
"""Scores of a block."""
_KEPT = 1 << 28
"""Most scores that are kept in memory: more are computed again in each pass."""


@dataclass(frozen=True)
class Judged:
    """How well each case [C] was predicted: `nats`, the log-probability of the item that was chosen, and its `rank`."""

    nats: np.ndarray
    rank: np.ndarray

    @property
    def ndcg(self) -> np.ndarray:
        """NDCG@10 of each case, [C]."""
        return np.where(self.rank <= NDCG_CUTOFF, 1 / np.log2(self.rank + 1), 0)


@dataclass(frozen=True)
class HalfFit:
    """Weights [F] that were fitted on one half of the people, and the curvature [F, F] of their log-likelihood
    there."""

    weights: np.ndarray
    curvature: np.ndarray


HalfFits = tuple[HalfFit, HalfFit]


class Design:
    """The columns of some sources for the same choices, each divided by its spread over items."""

    def __init__(self, sources: Sequence[Source], choices: Choices) -> None:
        self.sources, self.choices = list(sources), choices
        self.ranges = dict(zip([source.name for source in sources], column_ranges(sources), strict=True))
        few = self._scores(slice(0, min(64, len(choices))))
        spread = np.sqrt(few.var(axis=2, dtype=np.float64).mean(axis=0))
        self.scale = np.where(spread > 1e-9, spread, 1).astype(np.float32)
        self.num_items = few.shape[2]
        keeps = len(choices) * len(self.scale) * self.num_items <= _KEPT
        self._kept: dict[int, Block] | None = {} if keeps else None

    @property
    def names(self) -> list[str]:
        return list(self.ranges)

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Which columns belong to the sources of these names, [F] bool."""
        chosen = np.zeros(len(self.scale), bool)
        for name in names:
            chosen[self.ranges[name]] = True
        return chosen

    def halves(self) -> tuple[list[slice], list[slice]]:
        """The cases in two halves, each in consecutive blocks, by turns: the cases are sorted by user, and each user
        has at most one."""
        count = len(self.choices)
        step = max(1, min(_NUMBERS // (len(self.scale) * self.num_items), -(-count // 8)))
        every = [slice(start, min(start + step, count)) for start in range(0, count, step)]
        return every[::2], every[1::2]

    def blocks(self, cases: Sequence[slice]) -> Blocks:
        """The cases of some of the `halves`' blocks."""

        def generate() -> Iterator[Block]:
            for block in cases:
                yield self._block(block)

        return generate

    def _block(self, cases: slice) -> Block:
        if self._kept is not None and cases.start in self._kept:
            return self._kept[cases.start]
        case, row = self.choices.excluded(cases)
        other = row != self.choices.chosen[cases][case]
        scores = self._scores(cases) / self.scale[:, None]
        block = Block(scores, self.choices.chosen[cases], case[other], row[other])
        if self._kept is not None:
            self._kept[cases.start] = block
        return block

    def _scores(self, cases: slice) -> np.ndarray:
        """The columns of all sources, [c, F, N]."""
        return np.concatenate([source.scores(self.choices, cases) for source in self.sources], axis=1)


def fit_halves(design: Design, names: Sequence[str], begin: Sequence[np.ndarray] | None = None) -> HalfFits:
    """The weights of the sources of these names for each half of the people; those of all others are 0. `begin`, a
    guess of both, saves steps."""
    free = design.columns(names)
    one, other = (
        HalfFit(*fit_curved(design.blocks(half), free, begin=None if begin is None else begin[number]))
        for number, half in enumerate(design.halves())
    )
    return one, other


def fit_everybody(design: Design, names: Sequence[str], begin: np.ndarray) -> np.ndarray:
    """The weights [F] of the sources of these names for all people."""
    every = [block for half in design.halves() for block in half]
    return fit_curved(design.blocks(every), design.columns(names), begin=begin)[0]


def judge_halves(design: Design, fits: HalfFits) -> Judged:
    """How well the choices of each half are predicted by the weights of the other one."""
    return judge_sets(design, [(fits[0].weights, fits[1].weights)])[0]


def judge_without(design: Design, fits: HalfFits, names: Sequence[str]) -> list[Judged]:
    """The same without each source of these names in turn; the weights of the others are those of `logit.without`."""
    left_out = [design.columns([name]) for name in names]
    return judge_sets(design, [tuple(without(fit.weights, fit.curvature, part) for fit in fits) for part in left_out])


def judge_sets(design: Design, sets: Sequence[Sequence[np.ndarray]]) -> list[Judged]:
    """How well each of the A sets predicts all choices: a set has weights [F] for both halves, and each half is judged
    by those of the other. A tie counts against the item that was chosen."""
    count = len(design.choices)
    nats, rank = np.empty((len(sets), count)), np.empty((len(sets), count), np.int64)
    for number, half in enumerate(design.halves()):
        weights = np.stack([both[1 - number] for both in sets])
        for cases, block in zip(half, design.blocks(half)(), strict=True):
            own_row = block.chosen[:, None]
            for row, of_set in enumerate(weights):
                total = block.total(of_set)
                own = np.take_along_axis(total, own_row, axis=1)
                rank[row, cases] = (total >= own).sum(axis=1)
                largest = total.max(axis=1, keepdims=True)
                sums = np.exp(total - largest).sum(axis=1, dtype=np.float64)
                nats[row, cases] = (own - largest)[:, 0].astype(np.float64) - np.log(sums)
    return [Judged(*values) for values in zip(nats, rank, strict=True)]
