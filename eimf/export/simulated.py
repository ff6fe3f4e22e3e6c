"""The simulated person: shows the model a few events, and picks from a menu the names that suit the other ones.

Real people pick from a menu by what they like. Here that is taken from the part of the training history that the model
does not see: the names nearest to its texts. The target is never looked at.

Shapes: C cases, E events, L labels, U users, F width of the text space.
"""

from dataclasses import dataclass

import numpy as np

from eimf.data.eval_cases import EvalCases
from eimf.data.histories import Histories
from eimf.data.windows import flat_ranges
from eimf.vectors import mean_unit_vectors

HALF = -1
"""Show half of the history, of people with 8 events or more."""
_MANY, _BLOCK = 4, 1 << 10
_NO_CASES = EvalCases(*(np.zeros(size, np.int64) for size in (0, 0, 1, 0)))


@dataclass(frozen=True)
class Cases:
    """People of whom the model sees a part: `user_idx` [C]; `target` [C], the item_idx to predict; the events shown,
    `begin` [C] in `Histories.item_idx` and `length` [C]; and hidden training events, `hidden_case` [E] and
    `hidden_item_idx` [E]."""

    user_idx: np.ndarray
    target: np.ndarray
    begin: np.ndarray
    length: np.ndarray
    hidden_case: np.ndarray
    hidden_item_idx: np.ndarray

    def __len__(self) -> int:
        return len(self.user_idx)


def cut_cases(
    histories: Histories, split: str, shown: int, *, first: bool = False, max_scores: int | None = None
) -> Cases:
    """The cases of a split, of which the model sees the last `shown` events before the target (with `first`, the first
    ones of the history) or HALF of them. Hidden are the training events that are not shown. People with fewer events
    are left out. If several items are relevant, the target is the first. There are as many cases as have `max_scores`
    scores of all items, evenly chosen."""
    cases = histories.cases.get(split, _NO_CASES)
    user_idx, end, target = cases.user_idx, cases.history_end, cases.item_idx[cases.offsets[:-1]]
    length = np.where(end >= 2 * _MANY, end // 2, 0) if shown == HALF else np.full(len(end), shown)
    enough = np.flatnonzero((length <= end) & ((length > 0) | (shown == 0)))
    if max_scores is not None:
        enough = enough[:: max(1, -(-len(enough) * histories.num_items // max_scores))]
    user_idx, end, target, length = (column[enough] for column in (user_idx, end, target, length))
    start = histories.offsets[user_idx]
    trained = histories.num_train[user_idx]
    last_hidden = np.where(trained > 0, np.minimum(trained, end), end)
    begin = start if first else start + end - length
    hidden_begin = start + length if first else start
    hidden_end = start + last_hidden if first else np.minimum(begin, start + last_hidden)
    case, event = flat_ranges(hidden_begin, np.maximum(hidden_end - hidden_begin, 0))
    return Cases(user_idx, target, begin, length, case, histories.item_idx[event])


def mean_texts(item_idx: np.ndarray, person: np.ndarray, count: int, items: np.ndarray) -> np.ndarray:
    """Unit mean text of the events `item_idx` [E] of each person `person` [E], [count, F]; 0 without events. `items`
    [N, F] are the texts of items 1 to N."""
    return mean_unit_vectors(items, item_idx - 1, person, count)


def pick_names(people: np.ndarray, names: np.ndarray, menu: np.ndarray, count: int) -> np.ndarray:
    """The `count` labels of the `menu` whose texts are nearest to each person's, nearest first, [C, count]; -1 for a
    person without text. `people` [C, F], `names` [L, F]."""
    count = min(count, len(menu))
    picks = np.full((len(people), count), -1)
    for start in range(0, len(people), _BLOCK):
        part = people[start : start + _BLOCK]
        order = np.argsort(-(part @ names[menu].T), axis=1, kind="stable")[:, :count]
        picks[start : start + _BLOCK] = np.where(np.any(part, axis=1, keepdims=True), menu[order], -1)
    return picks
