"""Windows of training histories, and batches cut from them by vectorised indexing.

Shapes: E events of all users, U users, W windows, B windows of a batch, T its longest window, P its target positions.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eimf.data.histories import Histories
from eimf.data.windows import flat_ranges, pad_windows, window_index


@dataclass(frozen=True)
class Windows:
    """Stretches of training histories, [W] each: `user_idx`; `begin`, index of the first input among all events;
    `length`, the number of inputs. The target of an input is the event after it. The first `overlap` inputs have no
    loss: they only give the later ones a past. All are int32 but `begin`, int64: there may be as many as users."""

    user_idx: np.ndarray
    begin: np.ndarray
    length: np.ndarray
    overlap: np.ndarray

    @property
    def targets(self) -> int:
        return int((self.length - self.overlap).sum())


def cut_windows(histories: Histories, max_length: int, overlap: int, rng: np.random.Generator) -> Windows:
    """Windows of at most `max_length` inputs that make every training event but a user's first a target exactly once.

    `rng` shifts the cuts of a longer history each epoch. A window that begins inside a history repeats the `overlap`
    inputs before it (fewer near the beginning), so that no target is predicted from a shorter past than that.
    """
    targets = np.maximum(histories.num_train - 1, 0)
    step = max_length - overlap
    shift = np.where(targets > max_length, rng.integers(1, step + 1, len(targets)), np.minimum(targets, max_length))
    more = -(-np.maximum(targets - shift, 0) // step)  # windows after the first
    user_idx, number = flat_ranges(np.zeros_like(targets), np.where(targets > 0, more + 1, 0))  # number: of the user's
    start = np.where(number == 0, 0, shift[user_idx] + (number - 1) * step)
    end = np.minimum(shift[user_idx] + number * step, targets[user_idx])
    past = np.minimum(start, overlap)
    begin, length = histories.offsets[user_idx] + start - past, end - start + past
    return Windows(user_idx.astype(np.int32), begin, length.astype(np.int32), past.astype(np.int32))


@dataclass(frozen=True)
class Batch:
    """`item_idx` [B, T], `next_item_idx` [B, T] the item after each, and `times` [B, T] of the inputs in seconds, all 0
    at the padding, which comes last. Of each target: `slot` [P], the index of its input in the flattened [B * T];
    `target_row` [P], its row among the items (item_idx - 1); `event_index` [P], its index in `Histories.item_idx`;
    `user_idx` [P]; `position` [P] in the user's history, from 0.

    A batch may be shared by several processes: `counts` are the targets of each one's part, P of this one's.
    """

    item_idx: Tensor
    next_item_idx: Tensor
    times: Tensor | None
    slot: Tensor
    target_row: Tensor
    event_index: Tensor
    user_idx: Tensor
    position: Tensor
    counts: list[int]

    @property
    def targets(self) -> int:
        """Targets of the whole batch."""
        return sum(self.counts)

    def to(self, device: torch.device, names: Iterable[str]) -> "Batch":
        """The batch with the tensors of these `names` on `device`."""
        tensors = {name: getattr(self, name) for name in names}
        moved: dict[str, Any] = {name: to_device(value, device) for name, value in tensors.items() if value is not None}
        return replace(self, **moved)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on `device`. A GPU fetches it from pinned memory by itself; a copy from other memory waits until the
    GPU has finished its work so far."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class Batches:
    """One epoch: windows of similar length together, as many as fit into `batch_positions` when padded to the longest,
    in random order. So nearly all batches have the same size, and each length has one shape, for which kernels are
    compiled once. Batch number `i` is built when asked for: a resumed epoch skips those it has had."""

    def __init__(
        self,
        histories: Histories,
        windows: Windows,
        batch_positions: int,
        rng: np.random.Generator,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        """Of each batch, this process takes the windows of its `rank` among `size`."""
        order = np.argsort(-(windows.length + rng.random(len(windows.length))), kind="stable")  # longest first
        length, ends, start = windows.length[order], [0], 0
        while start < len(order):
            start += max(1, batch_positions // int(length[start]))
            ends.append(start)
        self._order, self._ends, self._numbers = order.astype(np.int32), ends, rng.permutation(len(ends) - 1)
        self._histories, self._windows, self._rank, self._size = histories, windows, rank, size

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> Batch:
        windows, group = self._windows, self._numbers[number]
        chosen = self._order[self._ends[group] : self._ends[group + 1]]
        parts = [chosen[rank :: self._size] for rank in range(self._size)]
        counts = [int((windows.length[part] - windows.overlap[part]).sum()) for part in parts]
        return _batch(self._histories, windows, parts[self._rank], counts)


def _batch(histories: Histories, windows: Windows, chosen: np.ndarray, counts: list[int]) -> Batch:
    begin, length = windows.begin[chosen], windows.length[chosen]
    index = window_index(begin, begin + length, int(length.max(initial=1)))  # [B, T]
    supervised = index >= (begin + windows.overlap[chosen])[:, None]
    next_item_idx = np.where(index >= 0, histories.item_idx[index + 1], 0).astype(np.int64)
    event_index = index[supervised] + 1
    user_idx = np.broadcast_to(windows.user_idx[chosen, None], index.shape)[supervised]
    times = None if histories.timestamps is None else pad_windows(histories.timestamps, index).astype(np.float64)
    return Batch(
        item_idx=torch.from_numpy(pad_windows(histories.item_idx, index).astype(np.int64)),
        next_item_idx=torch.from_numpy(next_item_idx),
        times=None if times is None else torch.from_numpy(times),
        slot=torch.from_numpy(np.flatnonzero(supervised)),
        target_row=torch.from_numpy(next_item_idx[supervised] - 1),
        event_index=torch.from_numpy(event_index),
        user_idx=torch.from_numpy(user_idx.astype(np.int64)),
        position=torch.from_numpy(event_index - histories.offsets[user_idx]),
        counts=counts,
    )
