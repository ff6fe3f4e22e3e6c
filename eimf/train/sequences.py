"""Histories as flat arrays with offsets, and batches cut from them by vectorised indexing.

Shapes: E events of all users, U users, W windows, B windows of a batch, T its longest window, P its target positions.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from eimf import schema
from eimf.errors import DataError


@dataclass(frozen=True)
class Histories:
    """`items` [E] item_idx, user by user in order; `offsets` [U + 1]; `trained` [U] how many of a user's events
    are training events: they come first, then one for validation, then one for test (leave-one-out); `times` [E] in
    seconds, where the data has them. Raises DataError if that is not so."""

    items: np.ndarray
    offsets: np.ndarray
    trained: np.ndarray
    catalogue: int
    times: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.offsets) != self.users + 1 or self.offsets[0] != 0 or self.offsets[-1] != len(self.items):
            raise _broken(f"offsets of {self.users} users do not span the {len(self.items)} events")
        lengths = np.diff(self.offsets)
        if (wrong := (self.trained < 1) | (lengths != self.trained + 2)).any():
            user = int(wrong.argmax())
            raise _broken(f"user {user} has {lengths[user]} events, {self.trained[user]} of them for training")
        if self.users == 0 or self.items.min() < 1 or self.items.max() > self.catalogue:
            raise _broken(f"items are not 1 to {self.catalogue}")
        if self.times is not None and len(self.times) != len(self.items):
            raise _broken(f"{len(self.times)} times of {len(self.items)} events")

    @property
    def users(self) -> int:
        return len(self.trained)

    @property
    def training_targets(self) -> int:
        """Events that an epoch predicts: every training event but a user's first."""
        return int((self.trained - 1).clip(0).sum())

    def known(self, split: int) -> np.ndarray:
        """How many events of each user come before the validation or the test event, [U]."""
        return self.trained + (0 if split == schema.VALID else 1)

    def targets(self, split: int) -> np.ndarray:
        """Each user's validation or test item, [U] item_idx."""
        return self.items[self.offsets[:-1] + self.known(split)]

    def repeated(self, split: int) -> np.ndarray:
        """Whether each user had the validation or the test item before, [U] bool."""
        user, event = self.first_events(np.arange(self.users), self.known(split))
        same = self.items[event] == self.targets(split)[user]
        return np.bincount(user[same], minlength=self.users) > 0

    def frequency(self) -> np.ndarray:
        """How often each item occurs in training, [N]."""
        _, event = self.training_events()
        return np.bincount(self.items[event], minlength=self.catalogue + 1)[1:]

    def training_events(self) -> tuple[np.ndarray, np.ndarray]:
        """All training events, flat: the user of each, and its place in `items`."""
        return self.first_events(np.arange(self.users), self.trained)

    def first_events(self, user: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first `count` [B] events of each `user` [B], flat [S]: the row in `user` of each, and its place in
        `items`."""
        row = np.repeat(np.arange(len(user)), count)
        return row, np.repeat(self.offsets[user] - np.cumsum(count) + count, count) + np.arange(len(row))


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on `device`. A GPU fetches it from pinned memory by itself; a copy from other memory waits
    until the GPU has finished its work so far."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _broken(problem: str) -> DataError:
    return DataError("histories", problem, "each user needs training events, then one to validate and one to test")


def read_histories(events: pa.Table) -> Histories:
    """From the columns of `schema.EVENTS` but the position, sorted by user and position. Raises ArtifactError for
    another table, and DataError if the rows are not sorted so, or the split is another one."""
    schema.checked(events, schema.EVENTS, [schema.USER, schema.ITEM, schema.TIMESTAMP, schema.SPLIT])
    user, split = events[schema.USER].to_numpy(), events[schema.SPLIT].to_numpy()
    items = events[schema.ITEM].to_numpy().astype(np.int64)
    if len(user) == 0 or user[0] != 0 or (np.diff(user) < 0).any():
        raise _broken("events are not those of users 0, 1, ... in turn")
    users = int(user[-1]) + 1
    offsets = np.searchsorted(user, np.arange(users + 1))
    trained = np.bincount(user[split == schema.TRAIN], minlength=users)
    ends = offsets[1:][np.diff(offsets) > 1]
    if (split[ends - 1] != schema.TEST).any() or (split[ends - 2] != schema.VALID).any():
        raise _broken("the last two events of a user are not for validation and test")
    times = events[schema.TIMESTAMP]
    return Histories(items, offsets, trained, int(items.max()), None if times.null_count else times.to_numpy())


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
    targets = np.maximum(histories.trained - 1, 0)
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
    """`items` [B, T] padded with 0 at the end, `following` [B, T] the item after each, `times` [B, T] of `items`;
    `place` [P] indices of target positions in the flattened [B * T]; `target` [P] item_idx; `event` [P], each target's
    place in `Histories.items`; `user` [P]; `position` [P] of the target in the user's history.

    A batch may be shared by several processes: `counts` are the target positions of each one's part, P of this one's.
    """

    items: Tensor
    following: Tensor
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
    following = np.where(inside, histories.items[event + 1], 0)
    at = (event + 1)[supervised]
    user_at = np.broadcast_to(user, event.shape)[supervised]
    return Batch(
        items=torch.from_numpy(np.where(inside, histories.items[event], 0)),
        following=torch.from_numpy(following),
        times=_times(histories, event),
        place=torch.from_numpy(np.flatnonzero(supervised)),
        target=torch.from_numpy(following[supervised]),
        event=torch.from_numpy(at),
        user=torch.from_numpy(user_at.copy()),
        position=torch.from_numpy(at - histories.offsets[user_at]),
        counts=counts,
    )


def _times(histories: Histories, event: np.ndarray) -> Tensor | None:
    return None if histories.times is None else torch.from_numpy(histories.times[event].astype(np.float64))


@dataclass(frozen=True)
class Query:
    """Users to rank for: `user` [B], `items` [B, T] their most recent history with its `times`, `lengths` [B], `target`
    [B], and what they have seen: flat item_idx [S] with each one's row [S], the target too if it was among it."""

    user: Tensor
    items: Tensor
    times: Tensor | None
    lengths: Tensor
    target: Tensor
    seen_rows: Tensor
    seen_items: Tensor


def queries(histories: Histories, split: int, max_length: int, block: int, positions: int) -> Iterator[Query]:
    """Every user once, in blocks of like length, longest first: the validation or the test event is the target, all
    before it the past. At most `block` users together, and `positions` of their histories."""
    known = histories.known(split)
    shown = np.minimum(known, max_length)
    order, start = np.argsort(-shown, kind="stable"), 0
    while start < len(order):
        end = start + min(block, max(1, positions // int(shown[order[start]])))
        yield _query(histories, order[start:end], known, max_length)
        start = end


def _query(histories: Histories, user: np.ndarray, known: np.ndarray, max_length: int) -> Query:
    begin, count = histories.offsets[user], known[user]
    lengths = np.minimum(count, max_length)
    place = np.arange(int(lengths.max()))
    inside = place < lengths[:, None]
    event = np.where(inside, (begin + count - lengths)[:, None] + place, 0)
    target = histories.items[begin + count]
    rows, events = histories.first_events(user, count)
    return Query(
        user=torch.from_numpy(user),
        items=torch.from_numpy(np.where(inside, histories.items[event], 0)),
        times=_times(histories, event),
        lengths=torch.from_numpy(lengths),
        target=torch.from_numpy(target),
        seen_rows=torch.from_numpy(rows),
        seen_items=torch.from_numpy(histories.items[events]),
    )
