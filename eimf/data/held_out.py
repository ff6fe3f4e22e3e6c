"""From held-out events to evaluation cases: what every protocol has in common.

Shapes: E events of all users, U users, C cases, N items.
"""

from dataclasses import dataclass

import numpy as np

from eimf.data.eval_cases import EvalCases
from eimf.data.windows import flat_ranges, row_blocks
from eimf.scratch import ROWS, let_go


@dataclass(frozen=True)
class HeldOut:
    """What is to be predicted of users `user_idx` [C]: their events `history_end` [C] to `end` [C] - 1, counted from 0
    within the user, from all events before these."""

    user_idx: np.ndarray
    history_end: np.ndarray
    end: np.ndarray

    def where(self, chosen: np.ndarray) -> "HeldOut":
        """Those in the rows `chosen`."""
        return HeldOut(self.user_idx[chosen], self.history_end[chosen], self.end[chosen])


def trained_items(item_idx: np.ndarray, offsets: np.ndarray, num_train: np.ndarray, rows: int = ROWS) -> np.ndarray:
    """Whether each item has a training event, [N + 1] bool by item_idx; N is the largest `item_idx` [E]. About `rows`
    events are looked at at a time."""
    trained = np.zeros(int(item_idx.max(initial=0)) + 1, bool)
    for users in row_blocks(num_train, rows):
        trained[item_idx[flat_ranges(offsets[users], num_train[users])[1]]] = True
        let_go(item_idx)
    return trained


def cases_of(
    held_out: HeldOut,
    item_idx: np.ndarray,
    offsets: np.ndarray,
    trained: np.ndarray,
    *,
    drop_cold: bool,
    rows: int = ROWS,
) -> tuple[EvalCases, dict[str, int]]:
    """The cases of one split, and counts of what became of the others.

    A case needs a history (`without_history` users have none) and a relevant item (`without_target`). Its relevant
    items are distinct, in the order of their first event. `cold_targets` are relevant items that are not among the
    `trained` [N + 1]; with `drop_cold` they are not relevant. About `rows` events are looked at at a time.
    """
    with_history = held_out.where(held_out.history_end > 0)
    begin = offsets[with_history.user_idx] + with_history.history_end
    count = with_history.end - with_history.history_end
    sizes, every, num_cold = np.zeros(len(begin), np.int64), [np.zeros(0, np.int64)], 0
    for block in row_blocks(count, rows):
        case, event = flat_ranges(begin[block], count[block])
        case, relevant = _distinct(case, item_idx[event].astype(np.int64))
        cold = ~trained[relevant]
        num_cold += int(cold.sum())
        if drop_cold:
            case, relevant = case[~cold], relevant[~cold]
        sizes[block] = np.bincount(case, minlength=block.stop - block.start)
        every.append(relevant)
        let_go(item_idx)
    chosen = with_history.where(sizes > 0)
    counts = {
        "cases": len(chosen.user_idx),
        "without_history": len(held_out.user_idx) - len(with_history.user_idx),
        "without_target": int((sizes == 0).sum()),
        "cold_targets": num_cold,
    }
    ends = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
    return EvalCases(chosen.user_idx, chosen.history_end, ends, np.concatenate(every)), counts


def _distinct(case: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first event of each relevant item of each case, in order."""
    if (np.diff(case) > 0).all():
        return case, relevant
    _, first = np.unique(case * (int(relevant.max(initial=0)) + 1) + relevant, return_index=True)
    first.sort()
    return case[first], relevant[first]


def sampled_cases(cases: EvalCases, most: int, seed: list[int]) -> EvalCases:
    """At most so many of the cases, drawn by `seed`, in their order."""
    if len(cases) <= most:
        return cases
    rows = np.sort(np.random.default_rng(seed).choice(len(cases), most, replace=False))
    sizes = np.diff(cases.offsets)[rows]
    _, relevant = flat_ranges(cases.offsets[rows], sizes)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    return EvalCases(cases.user_idx[rows], cases.history_end[rows], ends, cases.item_idx[relevant])
