"""How well typical users stand for all: the cosine of each user's vector to that of the nearest typical user of the
user's own cluster.

Shapes: U users, N items, S text width.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.data.histories import Histories

LOW = 10
"""Percent of the users who are below the low decile."""
RARE_SHARE = 0.2
"""Share of the training events that the rare items, the least popular ones, have together."""
_LENGTHS = (1, 3, 5, 10, 20, 50, 100)
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Coverage:
    """The mean cosine of some users, and the low decile, which a tenth of them do not exceed."""

    mean: float
    low: float


def coverage_of(cosines: np.ndarray) -> Coverage:
    """Of one user or more."""
    return Coverage(float(cosines.mean(dtype=np.float64)), float(np.percentile(cosines, LOW)))


def cosines_to_typical(
    vectors: np.ndarray, cluster: np.ndarray, typical: pa.Table, typical_vectors: np.ndarray
) -> np.ndarray:
    """The cosine [U] of unit vectors [U, S] to the nearest typical user of the same `cluster` [U]. `typical` is
    `schema.TYPICAL_USERS`, and `typical_vectors` are those of its rows. Every cluster has a typical user."""
    numbers = typical[schema.CLUSTER].to_numpy()
    first, last = (np.searchsorted(numbers, cluster, side) for side in ("left", "right"))
    nearest = np.full(len(vectors), -1, np.float32)
    for rank in range(int((last - first).max(initial=0))):
        users = np.flatnonzero(first + rank < last)
        for start in range(0, len(users), _BLOCK):
            rows = users[start : start + _BLOCK]
            cosine = np.einsum("us,us->u", vectors[rows], typical_vectors[first[rows] + rank])
            nearest[rows] = np.maximum(nearest[rows], cosine)
    return nearest


def length_groups(num_train: np.ndarray) -> dict[str, np.ndarray]:
    """Which users [U] have how many training events, for each range that has a user."""
    groups = {}
    for low, high in zip(_LENGTHS, (*_LENGTHS[1:], None), strict=True):
        name = f"{low} events and more" if high is None else f"{low} to {high - 1} events"
        groups[name] = (num_train >= low) & (num_train < (high or np.inf))
    return {name: group for name, group in groups.items() if group.any()}


def rare_groups(histories: Histories) -> dict[str, np.ndarray]:
    """Which users [U] have how large a share of rare items among their training events; users without any in none."""
    rare = rare_items(histories.frequency())
    count = np.zeros(histories.num_users, np.int64)
    for users, row, event in histories.training_blocks():
        count[users.start : users.stop] = np.bincount(
            row, weights=rare[histories.item_idx[event] - 1], minlength=len(users)
        )
    share, present = count / np.maximum(histories.num_train, 1), histories.num_train > 0
    groups = {
        "no rare items": present & (share == 0),
        "up to a third rare": (share > 0) & (share <= 1 / 3),
        "more than a third rare": share > 1 / 3,
    }
    return {name: group for name, group in groups.items() if group.any()}


def rare_items(frequency: np.ndarray) -> np.ndarray:
    """Whether each item is rare, [N]: the least frequent ones, as long as they have at most a fifth of all events."""
    order = np.argsort(frequency, kind="stable")
    rare = np.zeros(len(frequency), bool)
    rare[order] = np.cumsum(frequency[order]) <= RARE_SHARE * frequency.sum()
    return rare
