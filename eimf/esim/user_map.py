"""A map of users: the mean text of what each had in training, in the two directions in which these differ most.

Shapes: U users, N items, S text width, P users on the map, G largest clusters.
"""

from dataclasses import dataclass

import numpy as np

from eimf.data.histories import Histories
from eimf.vectors import mean_unit_vectors


@dataclass(frozen=True)
class UserMap:
    """`position` [P, 2] of the users `user_idx` [P]; `largest` [G]: the clusters with most users, and their `sizes`
    [G]; `shown_variance`: the share of the users' variance along each of the two directions, the larger first."""

    user_idx: np.ndarray
    position: np.ndarray
    largest: np.ndarray
    sizes: np.ndarray
    shown_variance: tuple[float, float]


def map_users(
    histories: Histories,
    item_vectors: np.ndarray,
    cluster: np.ndarray,
    *,
    most: int = 1500,
    clusters: int = 8,
    of_each: int = 60,
    seed: int = 2026,
) -> UserMap:
    """Users with training events: at random at most `most` of those in a cluster, and in addition at most `of_each`
    from each of the `clusters` largest, so that these are seen among many. `item_vectors` [N, S] are those of items
    1..N, `cluster` [U] is -1 for users without one.

    The directions are the principal ones of the random users, and depend on nobody else. Memory grows with the users
    on the map, not with all users. Raises ValueError if no user is in a cluster.
    """
    present = np.flatnonzero(cluster >= 0)
    if not len(present):
        raise ValueError("no user is in a cluster")
    rng = np.random.default_rng(seed)
    count = np.bincount(cluster[present])
    largest = np.argsort(-count, kind="stable")[: min(clusters, np.count_nonzero(count))]
    drawn = _some(present, most, rng)
    further = [_some(np.flatnonzero(cluster == number), of_each, rng) for number in largest]
    user_idx = np.concatenate([drawn, np.setdiff1d(np.concatenate(further), drawn)])
    row, event = histories.first_events(user_idx, histories.num_train[user_idx])
    vectors = mean_unit_vectors(item_vectors, histories.item_idx[event] - 1, row, len(user_idx))
    directions, shown = principal_directions(vectors[: len(drawn)])
    position = (vectors - vectors[: len(drawn)].mean(axis=0)) @ directions.T
    return UserMap(user_idx, position, largest, count[largest], shown)


def principal_directions(vectors: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """The two orthogonal unit vectors [2, S] along which the rows of `vectors` [n, S] vary most, and the share of their
    variance along each; 0 if all rows are equal. The largest number of each direction is above 0, so that the same rows
    always give the same picture, not its mirror image."""
    centred = (vectors - vectors.mean(axis=0)).astype(np.float64)
    variance, axes = np.linalg.eigh(centred.T @ centred)
    directions = axes[:, -2:].T[::-1]
    peak = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(len(directions)), peak])[:, None]
    total = max(float(variance.clip(min=0).sum()), 1e-12)
    first, second = (max(float(value), 0.0) / total for value in variance[-2:][::-1])
    return directions, (first, second)


def _some(users: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many of the users, at random, in their order."""
    return users if len(users) <= most else np.sort(rng.choice(users, most, replace=False))
