"""Who is ranked for what: histories up to an event, in batches of similar length.

Shapes: B users, T longest history.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eimf.data.histories import Histories, event_times


@dataclass(frozen=True)
class EvalBatch:
    """Users to rank for: `user` [B], `items` [B, T] their most recent history with its `times`, `lengths` [B], `target`
    [B], and what they have seen: flat item_idx [S] with each one's row [S], the target too if it was among it."""

    user: Tensor
    items: Tensor
    times: Tensor | None
    lengths: Tensor
    target: Tensor
    seen_rows: Tensor
    seen_items: Tensor


def eval_batches(histories: Histories, split: int, max_length: int, block: int, positions: int) -> Iterator[EvalBatch]:
    """Every user once, in blocks of like length, longest first: the validation or the test event is the target, all
    before it the past. At most `block` users together, and `positions` of their histories."""
    known = histories.known(split)
    shown = np.minimum(known, max_length)
    order, start = np.argsort(-shown, kind="stable"), 0
    while start < len(order):
        end = start + min(block, max(1, positions // int(shown[order[start]])))
        yield _query(histories, order[start:end], known, max_length)
        start = end


def _query(histories: Histories, user: np.ndarray, known: np.ndarray, max_length: int) -> EvalBatch:
    begin, count = histories.offsets[user], known[user]
    lengths = np.minimum(count, max_length)
    place = np.arange(int(lengths.max()))
    inside = place < lengths[:, None]
    event = np.where(inside, (begin + count - lengths)[:, None] + place, 0)
    target = histories.items[begin + count]
    rows, events = histories.first_events(user, count)
    return EvalBatch(
        user=torch.from_numpy(user),
        items=torch.from_numpy(np.where(inside, histories.items[event], 0)),
        times=event_times(histories, event),
        lengths=torch.from_numpy(lengths),
        target=torch.from_numpy(target),
        seen_rows=torch.from_numpy(rows),
        seen_items=torch.from_numpy(histories.items[events]),
    )
