"""Which items the same users had in training: counted once per user, as a sparse symmetric matrix.

Our decision: the similarity of two items is c_ij / sqrt((n_i + 5) (n_j + 5)), where c_ij users had both, not more than
`reach` events apart, and n_i users had i. The 5 keeps pairs of rare items from being similar by one common user.

Shapes: N items, E events, P pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eimf.data.histories import Histories

REACH = 50
"""Most events between two items that count as a pair: as many as a backbone sees by default."""
SMOOTHING = 5
MOST_PAIRS = 1 << 26
"""Pairs that are counted, equal ones included: of more events than fit, only closer ones count as a pair."""
_PAIRS = 1 << 24
"""Pairs that are collected before equal ones are added up."""


@dataclass(frozen=True)
class Cooccurrence:
    """The items that occurred together with each item: those of row r (item r + 1) are `neighbor_row` [P] int32 and
    `similarity` [P] float32 at `offsets`[r] to `offsets`[r + 1], sorted by row. `users` [N] is how many had each
    item."""

    offsets: np.ndarray
    neighbor_row: np.ndarray
    similarity: np.ndarray
    users: np.ndarray

    @property
    def num_items(self) -> int:
        return len(self.users)

    def nearest(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the `count` most similar items of each item and their similarities, [N, count] each, best first;
        equal ones by row. An item with fewer neighbors has itself, with similarity 0, in the other places."""
        row = np.repeat(np.arange(self.num_items), np.diff(self.offsets))
        order = np.lexsort((self.neighbor_row, -self.similarity, row))
        place = np.arange(len(row)) - self.offsets[row]  # `row` is sorted, so the order keeps rows where they are
        kept = place < count
        rows = np.repeat(np.arange(self.num_items, dtype=np.int32)[:, None], count, axis=1)
        similarities = np.zeros((self.num_items, count), np.float32)
        rows[row[kept], place[kept]] = self.neighbor_row[order][kept]
        similarities[row[kept], place[kept]] = self.similarity[order][kept]
        return rows, similarities


def count_cooccurrence(
    histories: Histories, reach: int = REACH, smoothing: float = SMOOTHING, most_pairs: int = MOST_PAIRS
) -> Cooccurrence:
    """Counts training events only. The `reach` is smaller if the events have more than `most_pairs` pairs within it."""
    num_items = histories.num_items
    reach = min(reach, max(1, most_pairs // max(1, int(histories.num_train.sum()))))
    users = np.zeros(num_items, np.int64)
    codes, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    pending, waiting = [], 0
    for row, user in _items_of_users(histories):
        users += np.bincount(row, minlength=num_items)
        for distance in range(1, min(reach, len(row) - 1) + 1):
            same = user[distance:] == user[:-distance]
            if not same.any():
                break
            one, other = row[:-distance][same].astype(np.int64), row[distance:][same].astype(np.int64)
            pending.append(np.minimum(one, other) * num_items + np.maximum(one, other))
            waiting += len(one)
            if waiting > _PAIRS:
                codes, counts = _added(codes, counts, pending)
                pending, waiting = [], 0
    codes, counts = _added(codes, counts, pending)
    one, other = codes // num_items, codes % num_items
    similarity = counts / np.sqrt((users[one] + smoothing) * (users[other] + smoothing))
    row, neighbor = np.concatenate([one, other]), np.concatenate([other, one])
    order = np.lexsort((neighbor, row))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=num_items))])
    both = np.concatenate([similarity, similarity])[order].astype(np.float32)
    return Cooccurrence(offsets, neighbor[order].astype(np.int32), both, users)


def _items_of_users(histories: Histories) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The different items of some users after others, in the order of their first training events: the row of each
    item, and the user."""
    for users, user_row, event in histories.training_blocks():
        row = histories.item_idx[event] - 1
        user = users.start + user_row
        _, first = np.unique(user * np.int64(histories.num_items) + row, return_index=True)
        first.sort()
        yield row[first], user[first]


def _added(codes: np.ndarray, counts: np.ndarray, pending: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sorted codes of pairs and their counts, with those of the `pending` ones."""
    new, new_counts = np.unique(np.concatenate(pending), return_counts=True) if pending else (codes[:0], counts[:0])
    every, place = np.unique(np.concatenate([codes, new]), return_inverse=True)
    return every, np.bincount(place, weights=np.concatenate([counts, new_counts]), minlength=len(every)).astype(
        np.int64
    )
