"""Choices that people made: what somebody had before, and the item that came next.

Shapes: C cases, T length of a window, N items, X items that cannot be chosen.
"""

from dataclasses import dataclass

import numpy as np

from eimf.data.histories import Histories
from eimf.data.windows import flat_ranges, pad_windows, window_index
from eimf.errors import DataError

FEWEST = 8
"""Cases, of which each half fits weights for the other one."""


class TooFewChoices(DataError):
    """A split with too few cases to fit weights on one half of them."""


@dataclass(frozen=True)
class Choices:
    """The cases of one split. `window` [C, T] are the item_idx of the last events before the choice, padded with 0 at
    the end, `length` [C] how many these are, `times` [C, T] their seconds if the data have times; `chosen` [C] is the
    row (from 0) of the item that was chosen. The items `excluded_row` [X] cannot be chosen in `excluded_case` [X],
    which is sorted: what the person had already."""

    user_idx: np.ndarray
    history_end: np.ndarray
    window: np.ndarray
    length: np.ndarray
    times: np.ndarray | None
    chosen: np.ndarray
    excluded_case: np.ndarray
    excluded_row: np.ndarray

    def __len__(self) -> int:
        return len(self.user_idx)

    def excluded(self, cases: slice) -> tuple[np.ndarray, np.ndarray]:
        """The `excluded_case`, from 0 within consecutive `cases`, and the `excluded_row` of these."""
        first, last = np.searchsorted(self.excluded_case, [cases.start, cases.stop])
        return self.excluded_case[first:last] - cases.start, self.excluded_row[first:last]


def read_choices(histories: Histories, split: str, *, max_length: int, keep_seen: bool, max_scores: int) -> Choices:
    """The choices of a split, of at most `max_scores` scores of all items: if there are more, cases evenly spread over
    the users. If several items are relevant in a case, the first one counts. Without `keep_seen`, a case whose item
    is in its history is left out: it is never recommended. Raises TooFewChoices."""
    cases = histories.cases[split]
    relevant = cases.item_idx[cases.offsets[:-1]]
    chosen = np.arange(len(cases)) if keep_seen else np.flatnonzero(~histories.repeated(cases)[cases.offsets[:-1]])
    chosen = chosen[:: max(1, -(-len(chosen) * histories.num_items // max_scores))]
    if len(chosen) < FEWEST:
        problem = f"{len(chosen)} cases of the split {split!r} have an item that may be recommended"
        raise TooFewChoices("eval_cases", problem, f"weights need {FEWEST} or more: give more users")
    user_idx, end = cases.user_idx[chosen], cases.history_end[chosen]
    begin = histories.offsets[user_idx]
    index = window_index(begin, begin + end, max_length)
    times = None if histories.timestamps is None else pad_windows(histories.timestamps, index)
    excluded_case, excluded_row = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if not keep_seen:
        excluded_case, event = flat_ranges(begin, end)
        excluded_row = histories.item_idx[event].astype(np.int64) - 1
    return Choices(
        user_idx=user_idx,
        history_end=end,
        window=pad_windows(histories.item_idx, index).astype(np.int64),
        length=np.minimum(end, max_length),
        times=times,
        chosen=relevant[chosen].astype(np.int64) - 1,
        excluded_case=excluded_case,
        excluded_row=excluded_row,
    )
