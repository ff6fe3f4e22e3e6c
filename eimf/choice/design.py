"""Sources side by side for the conditional logit, and how well weights that others were fitted on predict a choice.

Everybody's choice is judged by weights that were fitted on the other half of the people.

Shapes: C cases, F columns of all sources, N items, A sets of weights.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eimf.choice.cases import Choices
from eimf.choice.logit import Block, Blocks, fit_curved, ndcg_of, without
from eimf.choice.sources import Source

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
        return ndcg_of(self.rank)


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
        """`sources` have different names."""
        self.sources, self.choices = {source.name: source for source in sources}, choices
        few = [source.scores(choices, slice(0, min(64, len(choices)))) for source in sources]  # [., G, N] each
        ends = np.cumsum([scores.shape[1] for scores in few]).tolist()
        self.ranges = dict(zip(self.sources, map(slice, [0, *ends], ends), strict=False))
        spread = np.concatenate([np.sqrt(scores.var(axis=2, dtype=np.float64).mean(axis=0)) for scores in few])
        self.scale = np.where(spread > 1e-9, spread, 1).astype(np.float32)
        self.num_items = few[0].shape[2]
        self._kept: dict[tuple[str, int], np.ndarray] = {}
        self._left = _KEPT

    @property
    def names(self) -> list[str]:
        return list(self.sources)

    def columns(self, names: Collection[str]) -> np.ndarray:
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

    def every_block(self) -> list[slice]:
        """The blocks of both halves in their order."""
        return sorted((block for half in self.halves() for block in half), key=lambda block: block.start)

    def blocks(self, cases: Sequence[slice], names: Collection[str]) -> Blocks:
        """The cases of some of the `halves`' blocks, with the columns of the sources of these names only."""

        def generate() -> Iterator[Block]:
            for block in cases:
                case, row = self.choices.excluded(block)
                other = row != self.choices.chosen[block][case]
                scores = np.concatenate([self._scores(name, block) for name in self.names if name in names], axis=1)
                yield Block(scores, self.choices.chosen[block], case[other], row[other])

        return generate

    def _scores(self, name: str, cases: slice) -> np.ndarray:
        """The columns of a source, [c, G, N]; kept while there is room."""
        kept = self._kept.get((name, cases.start))
        if kept is not None:
            return kept
        scores = self.sources[name].scores(self.choices, cases) / self.scale[self.ranges[name], None]
        if scores.size <= self._left:
            self._left -= scores.size
            self._kept[name, cases.start] = scores
        return scores


def fit_halves(design: Design, names: Collection[str], begin: Sequence[np.ndarray] | None = None) -> HalfFits:
    """The weights of the sources of these names for each half of the people; those of all others are 0. `begin`, a
    guess of both, saves steps."""
    one, other = (
        _fit(design, names, half, None if begin is None else begin[number])
        for number, half in enumerate(design.halves())
    )
    return one, other


def fit_everybody(design: Design, names: Collection[str], begin: np.ndarray) -> np.ndarray:
    """The weights [F] of the sources of these names for all people."""
    return _fit(design, names, [block for half in design.halves() for block in half], begin).weights


def _fit(design: Design, names: Collection[str], cases: Sequence[slice], begin: np.ndarray | None) -> HalfFit:
    free = design.columns(names)
    start = None if begin is None else begin[free]
    weights, curvature = np.zeros(len(free)), np.eye(len(free))
    weights[free], curvature[np.ix_(free, free)] = fit_curved(
        design.blocks(cases, names), np.ones(free.sum(), bool), begin=start
    )
    return HalfFit(weights, curvature)


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
    used = [name for name in design.names if _counts(sets, design.ranges[name])] or design.names[:1]
    columns, count = design.columns(used), len(design.choices)
    nats, rank = np.empty((len(sets), count)), np.empty((len(sets), count), np.int64)
    for number, half in enumerate(design.halves()):
        weights = [both[1 - number][columns] for both in sets]
        for cases, block in zip(half, design.blocks(half, used)(), strict=True):
            own_row = block.chosen[:, None]
            for row, of_set in enumerate(weights):
                total = block.total(of_set)
                own = np.take_along_axis(total, own_row, axis=1)
                rank[row, cases] = (total >= own).sum(axis=1)
                total -= (largest := total.max(axis=1, keepdims=True))
                sums = np.exp(total, out=total).sum(axis=1, dtype=np.float64)
                nats[row, cases] = (own - largest)[:, 0].astype(np.float64) - np.log(sums)
    return [Judged(*values) for values in zip(nats, rank, strict=True)]


def _counts(sets: Sequence[Sequence[np.ndarray]], columns: slice) -> bool:
    """Whether any weight of these columns is not 0."""
    return any(weights[columns].any() for both in sets for weights in both)
