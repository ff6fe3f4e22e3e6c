"""Windows of histories, and batches cut from them by vectorised indexing.

Shapes: E events of all users, U users, W windows, B windows of a batch, T its longest window, P its target positions.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eimf.data.histories import Histories, event_times, sent


@dataclass(frozen=True)
class Windows:
    """Pieces of training histories: inputs are events first..first+length-1 of the flat array, each one's target
    the event after it. The first `context` inputs have no loss: they only give the later ones a past."""

    user: np.ndarray
    first: np.ndarray
    length: np.ndarray
    context: np.ndarray

    @property
    def targets(self) -> int:
        return int((self.length - self.context).sum())


def cut_windows(histories: Histories, max_length: int, context: int, rng: np.random.Generator) -> Windows:
    """Windows of at most `max_length` inputs that make every training event but a user's first a target exactly once.

    A longer history is cut at places that `rng` shifts each epoch; a window that begins inside a history repeats
    the `context` inputs before it (fewer near the beginning), so that no target is predicted from a past shorter
    than that.
    """
    targets = np.maximum(histories.num_train - 1, 0)
    step = max_length - context
    shift = np.where(targets > max_length, rng.integers(1, step + 1, len(targets)), np.minimum(targets, max_length))
    more = -(-np.maximum(targets - shift, 0) // step)  # windows after the first
    user = np.repeat(np.arange(len(targets)), np.where(targets > 0, more + 1, 0))
    number = np.arange(len(user)) - np.searchsorted(user, user)
    begin = np.where(number == 0, 0, shift[user] + (number - 1) * step)
    end = np.minimum(shift[user] + number * step, targets[user])
    past = np.minimum(begin, context)
    return Windows(user, histories.offsets[user] + begin - past, end - begin + past, past)


@dataclass(frozen=True)
class Batch:
    """`items` [B, T] padded with 0 at the end, `next_items` [B, T] the item after each, `times` [B, T] of `items`;
    `place` [P] indices of target positions in the flattened [B * T]; `target` [P] item_idx; `event` [P], each target's
    place in `Histories.items`; `user` [P]; `position` [P] of the target in the user's history.

    A batch may be shared by several processes: `counts` are the target positions of each one's part, P of this one's.
    """

    items: Tensor
    next_items: Tensor
    times: Tensor | None
    place: Tensor
    target: Tensor
    event: Tensor
    user: Tensor
    position: Tensor
    counts: list[int]

    @property
    def targets(self) -> int:
        """Target positions of the whole batch."""
        return sum(self.counts)

    def to(self, device: torch.device, names: Iterable[str]) -> "Batch":
        """The batch with the tensors of these `names` on `device`."""
        tensors = {name: getattr(self, name) for name in names}
        moved: dict[str, Any] = {name: sent(value, device) for name, value in tensors.items() if value is not None}
        return replace(self, **moved)


class Batches:
    """One epoch: windows of like length together, as many as fit into `batch_positions` when padded to the longest, in
    random order. So nearly every batch is as large as the next, and a length always comes in the same shape, which
    matters where kernels are made for each shape. Batch number `i` is built when asked for: a resumed epoch skips
    those it has had."""

    def __init__(
        self, histories: Histories, windows: Windows, batch_positions: int, rng: np.random.Generator,
        rank: int = 0, size: int = 1,
    ) -> None:  # fmt: skip
        """Of each batch, this process takes the windows of its `rank` among `size`."""
        order = np.argsort(-(windows.length + rng.random(len(windows.length))), kind="stable")  # longest first
        length, groups, start = windows.length[order], [], 0
        while start < len(order):
            end = start + max(1, batch_positions // int(length[start]))
            groups.append(order[start:end])
            start = end
        self._groups = [groups[place] for place in rng.permutation(len(groups))]
        self._histories, self._windows, self._rank, self._size = histories, windows, rank, size

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, number: int) -> Batch:
        windows, parts = self._windows, [self._groups[number][rank :: self._size] for rank in range(self._size)]
        counts = [int((windows.length[part] - windows.context[part]).sum()) for part in parts]
        return _batch(self._histories, windows, parts[self._rank], counts)


def _batch(histories: Histories, windows: Windows, chosen: np.ndarray, counts: list[int]) -> Batch:
    first, length, context, user = (
        values[chosen, None] for values in (windows.first, windows.length, windows.context, windows.user)
    )
    place = np.arange(int(length.max(initial=1)))  # [T]
    inside = place < length  # [B, T]
    event = np.where(inside, first + place, 0)
    supervised = inside & (place >= context)
    next_items = np.where(inside, histories.items[event + 1], 0)
    at = (event + 1)[supervised]
    user_at = np.broadcast_to(user, event.shape)[supervised]
    return Batch(
        items=torch.from_numpy(np.where(inside, histories.items[event], 0)),
        next_items=torch.from_numpy(next_items),
        times=event_times(histories, event),
        place=torch.from_numpy(np.flatnonzero(supervised)),
        target=torch.from_numpy(next_items[supervised]),
        event=torch.from_numpy(at),
        user=torch.from_numpy(user_at.copy()),
        position=torch.from_numpy(at - histories.offsets[user_at]),
        counts=counts,
    )
