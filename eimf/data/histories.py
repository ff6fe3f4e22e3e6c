"""The `dataset` artifact as flat arrays: every user's events in order.

Shapes: E events of all users, U users.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from eimf import schema
from eimf.errors import DataError


@dataclass(frozen=True)
class Histories:
    """`items` [E] item_idx, user by user in order; `offsets` [U + 1]; `num_train` [U] how many of a user's events
    are training events: they come first, then one for validation, then one for test (leave-one-out); `times` [E] in
    seconds, where the data has them. Raises DataError if that is not so."""

    items: np.ndarray
    offsets: np.ndarray
    num_train: np.ndarray
    num_items: int
    times: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.offsets) != self.users + 1 or self.offsets[0] != 0 or self.offsets[-1] != len(self.items):
            raise _broken(f"offsets of {self.users} users do not span the {len(self.items)} events")
        lengths = np.diff(self.offsets)
        if (wrong := (self.num_train < 1) | (lengths != self.num_train + 2)).any():
            user = int(wrong.argmax())
            raise _broken(f"user {user} has {lengths[user]} events, {self.num_train[user]} of them for training")
        if self.users == 0 or self.items.min() < 1 or self.items.max() > self.num_items:
            raise _broken(f"items are not 1 to {self.num_items}")
        if self.times is not None and len(self.times) != len(self.items):
            raise _broken(f"{len(self.times)} times of {len(self.items)} events")

    @property
    def users(self) -> int:
        return len(self.num_train)

    @property
    def training_targets(self) -> int:
        """Events that an epoch predicts: every training event but a user's first."""
        return int((self.num_train - 1).clip(0).sum())

    def known(self, split: int) -> np.ndarray:
        """How many events of each user come before the validation or the test event, [U]."""
        return self.num_train + (0 if split == schema.VALID else 1)

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
        return np.bincount(self.items[event], minlength=self.num_items + 1)[1:]

    def training_events(self) -> tuple[np.ndarray, np.ndarray]:
        """All training events, flat: the user of each, and its place in `items`."""
        return self.first_events(np.arange(self.users), self.num_train)

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


def event_times(histories: Histories, event: np.ndarray) -> Tensor | None:
    return None if histories.times is None else torch.from_numpy(histories.times[event].astype(np.float64))
