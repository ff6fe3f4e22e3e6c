"""Evaluation cases in batches with histories of similar length.

Shapes: B cases of a batch, R their relevant items, T longest history, S events of the whole histories.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eimf.data.eval_cases import EvalCases
from eimf.data.histories import Histories
from eimf.data.windows import flat_ranges, pad_windows, window_index
from eimf.errors import DataError
from eimf.retrieval import Exclude

_POSITIONS = 6400
"""Most positions of histories encoded together on a CPU: more would not stay in the cache. Against 256 users of 50
positions, 1.4 times as fast."""


@dataclass(frozen=True)
class EvalBatch:
    """Cases to rank items for: `case` [B]; `item_idx` [B, T], the most recent events of each history, with their
    `times`; `lengths` [B]. Of each relevant item: `relevant` [R], its index in `EvalCases.item_idx`; `case_row` [R],
    the row of its case in this batch; `relevant_item_idx` [R]. Of each event of the whole histories: `history_row` [S],
    the row of its case, and `history_item_idx` [S]."""

    case: Tensor
    item_idx: Tensor
    times: Tensor | None
    lengths: Tensor
    relevant: Tensor
    case_row: Tensor
    relevant_item_idx: Tensor
    history_row: Tensor
    history_item_idx: Tensor

    def inputs(self, device: torch.device, *, with_times: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """What a backbone encodes: items, lengths, and times if it uses them and there are any."""
        times = self.times.to(device) if self.times is not None and with_times else None
        return self.item_idx.to(device), self.lengths.to(device), times

    def seen(self, device: torch.device) -> Exclude:
        """The items of each case's history."""
        return Exclude(self.history_row.to(device), self.history_item_idx.to(device))


def cases_in_batches(
    histories: Histories, split: str, device: torch.device, *, max_length: int, batch_size: int
) -> tuple[EvalCases, Iterator[EvalBatch]]:
    """The cases of a split, and all of them in batches that suit the device. Raises DataError if it has none."""
    cases = histories.cases.get(split)
    if not cases:
        raise DataError("eval_cases", f"the split {split!r} has no case", "build the dataset again")
    positions = _POSITIONS if device.type == "cpu" else batch_size * max_length
    return cases, eval_batches(histories, cases, max_length, batch_size, positions)


def eval_batches(
    histories: Histories, cases: EvalCases, max_length: int, batch_size: int, positions: int
) -> Iterator[EvalBatch]:
    """Every case once, the longest histories first: at most `batch_size` cases or relevant items together (a case is
    never divided), and `positions` of their histories."""
    shown = np.minimum(cases.history_end, max_length)
    order, start = np.argsort(-shown, kind="stable"), 0
    relevant_before = np.concatenate([[0], np.diff(cases.offsets)[order].cumsum()])
    while start < len(order):
        fit = np.searchsorted(relevant_before, relevant_before[start] + batch_size, side="right") - 1 - start
        end = start + max(1, min(int(fit), positions // int(shown[order[start]])))
        yield _batch(histories, cases, order[start:end], max_length)
        start = end


def _batch(histories: Histories, cases: EvalCases, case: np.ndarray, max_length: int) -> EvalBatch:
    user_idx, history_end = cases.user_idx[case], cases.history_end[case]
    begin = histories.offsets[user_idx]
    index = window_index(begin, begin + history_end, max_length)
    times = None if histories.timestamps is None else pad_windows(histories.timestamps, index).astype(np.float64)
    history_row, event_index = histories.first_events(user_idx, history_end)
    case_row, relevant = flat_ranges(cases.offsets[case], np.diff(cases.offsets)[case])
    return EvalBatch(
        case=torch.from_numpy(case),
        item_idx=torch.from_numpy(pad_windows(histories.item_idx, index).astype(np.int64)),
        times=None if times is None else torch.from_numpy(times),
        lengths=torch.from_numpy(np.minimum(history_end, max_length)),
        relevant=torch.from_numpy(relevant),
        case_row=torch.from_numpy(case_row),
        relevant_item_idx=torch.from_numpy(cases.item_idx[relevant].astype(np.int64)),
        history_row=torch.from_numpy(history_row),
        history_item_idx=torch.from_numpy(histories.item_idx[event_index].astype(np.int64)),
    )
