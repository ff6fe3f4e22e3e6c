"""The map of users: directions by hand, and who is on it."""

import numpy as np
import pytest

from eimf.data.histories import Histories
from eimf.esim.user_map import map_users, principal_directions


def test_the_directions_are_those_of_most_variance():
    rows = np.array([[2, 0, 5], [-2, 0, 5], [0, 1, 5], [0, -1, 5]], np.float32)
    directions, shares = principal_directions(rows)
    assert np.allclose(directions, [[1, 0, 0], [0, 1, 0]], atol=1e-6)
    assert shares == pytest.approx((8 / 10, 2 / 10))  # 2^2 + 2^2 along the first axis, 1 + 1 along the second
    mirrored, _ = principal_directions(rows[::-1])
    assert np.allclose(mirrored, directions, atol=1e-6)


def test_users_who_are_all_alike_have_no_direction():
    assert principal_directions(np.ones((5, 4), np.float32))[1] == (0, 0)


CLUSTER = np.array([0] * 50 + [1] * 30 + [2] * 10 + [-1] * 10, np.int32)


def users() -> Histories:
    """A hundred users with two training events each; the last ten have none."""
    num_train = np.where(CLUSTER >= 0, 2, 0)
    item_idx = np.random.default_rng(1).integers(1, 9, num_train.sum()).astype(np.int32)
    return Histories(item_idx, np.concatenate([[0], num_train.cumsum()]), num_train, 8)


def test_the_largest_clusters_are_seen_among_many():
    item_vectors = np.random.default_rng(2).standard_normal((8, 5)).astype(np.float32)
    drawn = map_users(users(), item_vectors, CLUSTER, most=20, clusters=2, of_each=9)
    assert drawn.largest.tolist() == [0, 1] and drawn.sizes.tolist() == [50, 30]
    on_map = np.bincount(CLUSTER[drawn.user_idx], minlength=3)  # fails for a user without a cluster
    assert on_map[:2].min() >= 9 and 20 <= len(drawn.user_idx) <= 20 + 2 * 9
    assert len(set(drawn.user_idx.tolist())) == len(drawn.user_idx) == len(drawn.position)
    again = map_users(users(), item_vectors, CLUSTER, most=20, clusters=2, of_each=9)
    assert (again.position == drawn.position).all() and 0 < sum(drawn.shown_variance) <= 1


def test_all_are_drawn_if_they_are_few_and_nobody_without_a_cluster():
    item_vectors = np.eye(8, dtype=np.float32)
    assert map_users(users(), item_vectors, CLUSTER).user_idx.tolist() == list(range(90))
    with pytest.raises(ValueError, match="no user"):
        map_users(users(), item_vectors, np.full(100, -1, np.int32))
