"""The `dataset` artifact as flat arrays: every user's events in order, and the cases to evaluate on.

Shapes: E events of all users, U users, N items, R relevant items of all cases.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.data.eval_cases import EvalCases, broken_cases, read_eval_cases
from eimf.data.windows import flat_ranges, row_blocks
from eimf.errors import DataError

BLOCK_EVENTS = 1 << 18
"""Events that are worked on at a time: memory does not grow with their number, and their arrays fit into the cache."""


@dataclass(frozen=True)
class Histories:
    """`item_idx` [E] int32, user by user in order; `offsets` [U + 1]: events offsets[u]..offsets[u+1]-1 are those of
    user u; `num_train` [U]: how many of them are training events, which come first; `num_items` N; `timestamps` [E] in
    seconds, if the data has them; `cases`: what is to be predicted, by split (VALID, TEST). A user may have no training
    event, and no case. The arrays may be mapped and read-only. Raises DataError if they do not fit together, or a
    case's history lacks a training event."""

    item_idx: np.ndarray
    offsets: np.ndarray
    num_train: np.ndarray
    num_items: int
    timestamps: np.ndarray | None = None
    cases: Mapping[str, EvalCases] = field(default_factory=dict)

    def __post_init__(self) -> None:
        events, lengths = len(self.item_idx), np.diff(self.offsets)
        if len(lengths) != self.num_users or self.offsets[0] != 0 or self.offsets[-1] != events:
            raise _broken(f"offsets of {self.num_users} users do not span the {events} events")
        if (lengths < 0).any():
            raise _broken(f"user {int(lengths.argmin())} has {lengths.min()} events")
        if (wrong := (self.num_train < 0) | (self.num_train > lengths)).any():
            user = int(wrong.argmax())
            raise _broken(f"user {user} has {lengths[user]} events, {self.num_train[user]} of them for training")
        if self.timestamps is not None and len(self.timestamps) != events:
            raise _broken(f"{len(self.timestamps)} timestamps of {events} events")
        for start in range(0, events, BLOCK_EVENTS):
            self._check_events(slice(start, start + BLOCK_EVENTS))
        for cases in self.cases.values():
            self._check(cases, lengths)

    def _check_events(self, block: slice) -> None:
        if _outside(self.item_idx[block], 1, self.num_items):
            raise _broken(f"the items are not 1 to {self.num_items}")
        if self.timestamps is not None and not np.isfinite(self.timestamps[block]).all():
            raise _broken("a timestamp is not a finite number")

    def _check(self, cases: EvalCases, lengths: np.ndarray) -> None:
        if _outside(cases.user_idx, 0, self.num_users - 1) or _outside(cases.item_idx, 1, self.num_items):
            raise broken_cases(f"the users are not 0 to {self.num_users - 1}, or the items not 1 to {self.num_items}")
        if (cases.history_end > lengths[cases.user_idx]).any():
            raise broken_cases("a history is longer than the events of its user")
        if (cases.history_end < self.num_train[cases.user_idx]).any():
            raise broken_cases("a training event comes after the history of its user's case")

    @property
    def num_users(self) -> int:
        return len(self.num_train)

    @property
    def training_targets(self) -> int:
        """Events that an epoch predicts: every training event but a user's first."""
        return int((self.num_train - 1).clip(0).sum())

    def training_blocks(self, events: int = BLOCK_EVENTS) -> Iterator[tuple[range, np.ndarray, np.ndarray]]:
        """The training events of all users in order, at most `events` or one user's at a time: the users of a block,
        and flat for each of their S events the row in these users, and the index in `item_idx`."""
        for block in row_blocks(self.num_train, events):
            yield range(block.start, block.stop), *flat_ranges(self.offsets[block], self.num_train[block])

    def frequency(self) -> np.ndarray:
        """How often each item occurs in training, [N]."""
        count = np.zeros(self.num_items + 1, np.int64)
        for _, _, event_index in self.training_blocks():
            count += np.bincount(self.item_idx[event_index], minlength=len(count))
        return count[1:]

    def first_events(self, user_idx: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first `count` [B] events of each user [B], flat [S]: the row in `user_idx` of each, and its index in
        `item_idx`."""
        return flat_ranges(self.offsets[user_idx], count)

    def training(self) -> "Histories":
        """The same users with their training events only, without cases."""
        offsets = np.concatenate([[0], np.cumsum(self.num_train)])
        item_idx = np.empty(int(offsets[-1]), self.item_idx.dtype)
        timestamps = None if self.timestamps is None else np.empty(len(item_idx))
        for users, _, event_index in self.training_blocks():
            block = slice(offsets[users.start], offsets[users.stop])
            item_idx[block] = self.item_idx[event_index]
            if timestamps is not None and self.timestamps is not None:
                timestamps[block] = self.timestamps[event_index]
        return Histories(item_idx, offsets, self.num_train, self.num_items, timestamps)

    def repeated(self, cases: EvalCases) -> np.ndarray:
        """Whether each relevant item is in the history of its case, [R] bool."""
        case, result = cases.case, np.zeros(len(cases.item_idx), bool)
        length = cases.history_end[case]
        for block in row_blocks(length, BLOCK_EVENTS):
            relevant, event_index = self.first_events(cases.user_idx[case[block]], length[block])
            same = self.item_idx[event_index] == cases.item_idx[block][relevant]
            result[block.start + relevant[same]] = True
        return result


def _outside(values: np.ndarray, low: int, high: int) -> bool:
    return len(values) > 0 and bool(values.min() < low or values.max() > high)


def _broken(problem: str) -> DataError:
    return DataError("histories", problem, "build the dataset again")


def read_histories(
    item_idx: np.ndarray, users: pa.Table, eval_cases: pa.Table, *, num_items: int, timestamps: np.ndarray | None = None
) -> Histories:
    """From the arrays `item_idx` and `timestamps` and the tables `users` and `eval_cases` of a `dataset` artifact.
    Raises ArtifactError for other tables, and DataError as `Histories` does."""
    schema.checked(users, schema.USER_IDS, (schema.NUM_EVENTS, schema.NUM_TRAIN))
    if not len(item_idx):
        raise _broken("there is no event")
    num_events, num_train = (users[name].to_numpy().astype(np.int64) for name in (schema.NUM_EVENTS, schema.NUM_TRAIN))
    offsets = np.concatenate([[0], np.cumsum(num_events)])
    return Histories(item_idx, offsets, num_train, num_items, timestamps, read_eval_cases(eval_cases))
