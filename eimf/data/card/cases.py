"""What is to be predicted: figures of the evaluation cases of a split."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eimf.data.card.distribution import Distribution, distribution
from eimf.data.eval_cases import EvalCases
from eimf.data.histories import Histories

BLOCK_EVENTS = 4_000_000
"""Events of the histories that are compared at a time."""


@dataclass(frozen=True)
class Cases:
    """`relevant`: relevant items of a case; `history`: events of its history; `targets`: relevant items of all cases;
    `cold`: share of them without a training event; `repeated`: share of them that are in the history of their case."""

    split: str
    cases: int
    users: int
    targets: int
    relevant: Distribution
    history: Distribution
    cold: float
    repeated: float


def describe_cases(split: str, histories: Histories, frequency: np.ndarray, block_events: int = BLOCK_EVENTS) -> Cases:
    """The cases of one split. `frequency` [N + 1]: training events of each item."""
    cases = histories.cases[split]
    targets = len(cases.item_idx)
    repeated = sum(int(histories.repeated(part).sum()) for part in _blocks(cases, block_events))
    return Cases(
        split=split,
        cases=len(cases),
        users=len(np.unique(cases.user_idx)),
        targets=targets,
        relevant=distribution(np.diff(cases.offsets)),
        history=distribution(cases.history_end),
        cold=int((frequency[cases.item_idx] == 0).sum()) / max(targets, 1),
        repeated=repeated / max(targets, 1),
    )


def _blocks(cases: EvalCases, block_events: int) -> Iterator[EvalCases]:
    """The same cases in parts, each with about `block_events` events to compare: a history per relevant item."""
    compared = np.cumsum(cases.history_end.astype(np.int64) * np.diff(cases.offsets))
    begin = 0
    while begin < len(cases):
        before = int(compared[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(compared, before + block_events, side="right")))
        offsets = cases.offsets[begin : end + 1]
        item_idx = cases.item_idx[offsets[0] : offsets[-1]]
        yield EvalCases(cases.user_idx[begin:end], cases.history_end[begin:end], offsets - offsets[0], item_idx)
        begin = end
