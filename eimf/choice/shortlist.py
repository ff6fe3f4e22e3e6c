"""The items that a case is decided among: the best ones of each case, instead of the whole catalogue.

Our decision. The likelihood over the whole catalogue is ruled by the cases whose item nobody would have recommended:
weights that lift it from place 5,000 to 500 gain more nats than those that lift another one from 12 to 8, and a
recommender shows only the second. So weights over all items choose a shortlist for each case, and the weights that
count are fitted on the cases whose item is on it, among the items of the shortlist.

Shapes: C cases, c cases of a block, S cases of the shortlists, N items, M items of a shortlist.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eimf.choice.cases import Choices
from eimf.choice.design import Design
from eimf.choice.sources import FixedSource

SIZE = 100
"""M."""


@dataclass(frozen=True)
class Shortlists:
    """The cases whose item is on their shortlist, S of C, with the shortlist in place of the catalogue; None if they
    are too few to fit weights on each half of them. `rank` [C] is that of the item of every case by the first source
    alone, among all items."""

    design: Design | None
    rank: np.ndarray


def shortlists(design: Design, names: Sequence[str], weights: np.ndarray, fewest: int, size: int = SIZE) -> Shortlists:
    """The `size` best items of each case by the sources of these names with these `weights` [F], and the scores of
    these sources for them."""
    used, size = [name for name in design.names if name in names], min(size, design.num_items)
    columns = design.columns(used)
    of_used, alone = weights[columns], np.zeros(int(columns.sum()))
    alone[0] = 1
    rank, parts = np.zeros(len(design.choices), np.int64), []
    every = design.every_block()
    for cases, block in zip(every, design.blocks(every, used)(), strict=True):
        of_model, own = block.total(alone), block.chosen[:, None]
        rank[cases] = (of_model >= np.take_along_axis(of_model, own, axis=1)).sum(axis=1)
        total = block.total(of_used)
        rows = np.argpartition(-total, size - 1, axis=1)[:, :size]  # [c, M]
        is_own = rows == own
        hit = is_own.any(axis=1)
        scores = np.take_along_axis(block.scores, rows[:, None], axis=2)[hit]
        excluded = np.isneginf(np.take_along_axis(total, rows, axis=1))[hit]
        parts.append((np.flatnonzero(hit) + cases.start, is_own.argmax(axis=1)[hit], scores, excluded))
    case, place, scores, excluded = (np.concatenate(part) for part in zip(*parts, strict=True))
    if len(case) < fewest:
        return Shortlists(None, rank)
    values, sources, first = scores * design.scale[columns][:, None], [], 0
    for name in used:
        last = first + int(design.columns([name]).sum())
        sources.append(FixedSource(name, values[:, first:last]))
        first = last
    return Shortlists(Design(sources, _among(design.choices, case, place, excluded)), rank)


def _among(choices: Choices, case: np.ndarray, place: np.ndarray, excluded: np.ndarray) -> Choices:
    """These cases [S], in which the items at `place` [S] of their shortlists were chosen, and the `excluded` [S, M]
    could not be."""
    excluded_case, excluded_row = np.nonzero(excluded)
    return Choices(
        user_idx=choices.user_idx[case],
        history_end=choices.history_end[case],
        window=choices.window[case],
        length=choices.length[case],
        times=None if choices.times is None else choices.times[case],
        chosen=place,
        excluded_case=excluded_case,
        excluded_row=excluded_row,
    )
