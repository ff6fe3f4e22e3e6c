"""Selectors of typical users: one contract for all, and planted worlds in which each one's answer is known."""

from itertools import combinations, product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf import schema
from eimf.config import ClusterSettings
from eimf.data.histories import Histories
from eimf.errors import SettingError
from eimf.esim.affinity import exemplars
from eimf.esim.cluster import Clusters, cluster_by_affinity, cluster_users
from eimf.esim.cover import greedy_cover
from eimf.esim.kmeans import no_progress
from eimf.esim.typical import Population, densest, kept_or_nearest, typical_users
from eimf.vectors import normalize

SELECTORS = ("nearest", "dense", "cover-items", "cover-events")
METHODS = ("kmeans", "affinity-propagation")
NUM_ITEMS, WIDTH = 12, 4


def histories_of(items: list[list[int]], num_items: int = NUM_ITEMS) -> Histories:
    """Users with these training events."""
    num_train = np.array([len(own) for own in items])
    item_idx = np.array([item for own in items for item in own], np.int32)
    return Histories(item_idx, np.concatenate([[0], np.cumsum(num_train)]), num_train, num_items)


def population(items: list[list[int]], method: str) -> Population:
    """Users with these events, clustered by random vectors of the items, as stages 3 and 4 do."""
    item_vectors = np.random.default_rng(7).standard_normal((NUM_ITEMS + 1, WIDTH))
    vectors = normalize(np.array([item_vectors[own].sum(axis=0) if own else np.zeros(WIDTH) for own in items]))
    histories = histories_of(items)
    clusters = clustered(vectors, method)
    return Population(clusters.cluster, clusters.similarity, histories.num_train, vectors, histories)


def clustered(vectors: np.ndarray, method: str) -> Clusters:
    if method == "kmeans":
        return cluster_users(vectors, 3, iterations=5, seed=1, threads=1, on_progress=no_progress)
    return cluster_by_affinity(vectors, seed=1, on_progress=no_progress)


def test_every_selector_and_method_of_the_settings_is_tested_here():
    fields = ClusterSettings.model_fields
    assert fields["typical"].annotation.__args__ == SELECTORS
    assert fields["method"].annotation.__args__ == METHODS


@pytest.mark.parametrize(("method", "selector"), list(product(METHODS, SELECTORS)))
@settings(max_examples=15, deadline=None)
@given(
    items=st.lists(st.lists(st.integers(1, NUM_ITEMS), max_size=6), min_size=4, max_size=14).filter(any),
    per_cluster=st.integers(1, 4),
    min_history=st.integers(1, 5),
)
def test_the_contract(method, selector, items, per_cluster, min_history):
    users = population(items, method)
    asked = {"selector": selector, "per_cluster": per_cluster, "min_history": min_history, "shown": 3, "seed": 5}
    table = typical_users(users, **asked)
    assert table.schema == schema.TYPICAL_USERS and table.equals(typical_users(users, **asked))
    chosen = list(zip(*table.to_pydict().values(), strict=True))
    assert len({user for _, user in chosen}) == len(chosen)
    assert [cluster for cluster, _ in chosen] == sorted(cluster for cluster, _ in chosen)
    assert all(items[user] and users.cluster[user] == cluster for cluster, user in chosen)
    for cluster in set(users.cluster[users.cluster >= 0].tolist()):
        members = [user for user in np.flatnonzero(users.cluster == cluster).tolist() if items[user]]
        long = [user for user in members if len(items[user]) >= min_history]
        of_cluster = [user for number, user in chosen if number == cluster]
        assert set(of_cluster) <= set(long or members)
        assert len(of_cluster) == min(per_cluster, len(long or members)) >= 1


def test_the_nearest_are_the_nearest_long_enough_members_ties_by_number():
    cluster = np.array([0, 0, 0, 1, 1, 3], np.int32)
    similarity = np.array([0.9, 0.8, 0.8, 0.5, 0.6, 0.1], np.float32)
    users = Population(cluster, similarity, np.array([2, 5, 5, 1, 1, 9]))

    def typical(min_history: int, per_cluster: int = 1) -> list[tuple[int, int]]:
        table = typical_users(users, min_history=min_history, per_cluster=per_cluster)
        return list(zip(*table.to_pydict().values(), strict=True))

    # Cluster 0: user 0 is too short, 1 and 2 tie. Cluster 1: nobody is long enough, so the nearest. Cluster 2 is empty.
    assert typical(min_history=3) == [(0, 1), (1, 4), (3, 5)]
    # A history of just that length is long enough.
    assert typical(min_history=2) == [(0, 0), (1, 4), (3, 5)]
    # Those who are long enough are fewer than two of cluster 3, and cluster 1 has nobody else.
    assert typical(min_history=3, per_cluster=2) == [(0, 1), (0, 2), (1, 4), (1, 3), (3, 5)]


def test_an_extension_keeps_the_first_typical_user_of_a_cluster_who_still_fits():
    cluster = np.array([0, 0, 0, 1, 1, 2], np.int32)
    similarity = np.array([0.9, 0.7, 0.8, 0.5, 0.6, 0.9], np.float32)
    users = Population(cluster, similarity, np.full(6, 5))
    # Of cluster 0 both fit, of cluster 1 one is too far and one has left to cluster 2, cluster 3 has lost all members.
    before = pa.table([[0, 0, 1, 1, 3], [1, 2, 3, 5, 0]], schema=schema.TYPICAL_USERS)
    table, kept = kept_or_nearest(before, 0.55, users, min_history=3)
    assert list(zip(*table.to_pydict().values(), strict=True)) == [(0, 1), (1, 4), (2, 5)] and kept == 1


def around(direction: int, count: int, spread: float, seed: int) -> np.ndarray:
    """Unit vectors near an axis of 8 dimensions."""
    return normalize(np.eye(8)[direction] + spread * np.random.default_rng(seed).standard_normal((count, 8)))


def test_the_densest_is_in_the_larger_crowd_and_the_next_one_in_the_other():
    """A cluster of two crowds with a stray user between them, who is the nearest to their common centroid."""
    stray = normalize(np.eye(8)[[0]] + np.eye(8)[[1]])
    vectors = np.concatenate([stray, around(0, 40, 0.05, 1), around(1, 25, 0.05, 2)])
    similarity = vectors @ normalize(vectors.mean(axis=0, keepdims=True))[0]
    users = Population(np.zeros(66, np.int32), similarity, np.full(66, 9), vectors)
    first, second = typical_users(users, selector="dense", per_cluster=2, min_history=3)[schema.USER].to_pylist()
    assert sorted([first <= 40, second <= 40]) == [False, True] and min(first, second) > 0
    assert typical_users(users, min_history=3)[schema.USER].to_pylist() != [first]


def test_a_density_is_the_mean_cosine_to_the_nearest_sixteen():
    vectors = around(0, 30, 0.4, 3)
    density = [np.sort(np.delete(vectors[row] @ vectors.T, row))[-16:].mean() for row in range(30)]
    assert densest(vectors, 1).tolist() == [int(np.argmax(density))]
    assert densest(vectors[:1], 3).tolist() == [0]
    assert sorted(densest(np.repeat(vectors[:1], 3, axis=0), 3).tolist()) == [0, 1, 2]  # equal ones, each once


def test_who_covers_most_is_chosen_and_then_who_adds_most():
    """One cluster. User 0 has items 1 to 4, user 1 three of these, user 2 two others, user 3 one that many have."""
    users = population([[1, 2, 3, 4], [1, 2, 3], [5, 6], [7], *[[7]] * 4], "kmeans")
    users = Population(np.zeros(8, np.int32), np.ones(8), users.num_train, None, users.histories)

    def chosen(selector: str, shown: int) -> list[int]:
        table = typical_users(users, selector=selector, per_cluster=3, min_history=1, shown=shown)
        return table[schema.USER].to_pylist()

    assert chosen("cover-items", 9) == [0, 2, 3]
    # Events: item 7 has five, items 1 to 4 have 2 + 2 + 2 + 1, items 5 and 6 one each.
    assert chosen("cover-events", 9) == [0, 3, 2]
    # Of the last event alone: 7 five, 3 two, and 4 and 6 one each, a tie.
    assert chosen("cover-events", 1) == [3, 1, 0]


def covered(chosen: tuple[int, ...], sets: list[set[int]], worth: np.ndarray) -> int:
    return int(sum(worth[item] for item in set().union(*(sets[number] for number in chosen))))


@settings(max_examples=60, deadline=None)
@given(
    sets=st.lists(st.sets(st.integers(0, 7), max_size=4), min_size=3, max_size=7),
    worth=st.lists(st.integers(1, 9), min_size=8, max_size=8),
    clusters=st.lists(st.integers(0, 1), min_size=7, max_size=7),
)
def test_the_greedy_choice_covers_what_its_theorems_promise(sets, worth, clusters):
    candidate, item_row = (np.array(list(side), np.int64) for side in _pairs(sets))
    worth = np.array(worth)
    one = np.zeros(len(sets), np.int64)
    best = max(covered(some, sets, worth) for some in combinations(range(len(sets)), 3))
    greedy = tuple(greedy_cover(one, candidate, item_row, worth, 3).tolist())
    assert covered(greedy, sets, worth) >= (1 - 1 / np.e) * best
    # One of each of two clusters: a matroid, and at least half of the best.
    cluster = np.array(clusters[: len(sets)])
    groups = [np.flatnonzero(cluster == number).tolist() for number in np.unique(cluster)]
    best = max(covered(some, sets, worth) for some in product(*groups))
    greedy = tuple(greedy_cover(cluster, candidate, item_row, worth, 1).tolist())
    assert sorted(cluster[list(greedy)]) == np.unique(cluster).tolist()
    assert covered(greedy, sets, worth) >= best / 2


def _pairs(sets: list[set[int]]) -> tuple[list[int], list[int]]:
    pairs = [(number, item) for number, own in enumerate(sets) for item in sorted(own)]
    return [number for number, _ in pairs], [item for _, item in pairs]


def test_affinity_propagation_finds_the_planted_crowds_without_their_number():
    vectors = np.concatenate([around(direction, 12, 0.05, direction) for direction in range(4)])
    clusters = clustered(vectors, "affinity-propagation")
    assert len(clusters.centroids) == 4
    assert [len(set(group.tolist())) for group in np.split(clusters.cluster, 4)] == [1] * 4
    users = Population(clusters.cluster, clusters.similarity, np.full(48, 5))
    typical = typical_users(users, min_history=3)[schema.USER].to_numpy()
    np.testing.assert_array_equal(vectors[typical], clusters.centroids)  # the exemplars themselves


def test_affinity_propagation_maximizes_its_net_similarity():
    """Against all sets of exemplars: the sum of similarities to the nearest one, and of their preferences."""
    vectors = np.random.default_rng(3).standard_normal((8, 3))
    vectors = normalize(vectors + 2 * np.repeat(np.eye(3), [3, 3, 2], axis=0))
    cosines = vectors @ vectors.T
    preference = np.median(cosines[~np.eye(8, dtype=bool)])

    def net(chosen: tuple[int, ...]) -> float:
        others = np.setdiff1d(np.arange(8), chosen)
        return float(cosines[np.ix_(others, list(chosen))].max(axis=1, initial=-9).sum()) + len(chosen) * preference

    best = max((some for size in range(1, 9) for some in combinations(range(8), size)), key=net)
    assert tuple(exemplars(vectors.astype(np.float32), seed=0, on_progress=no_progress)) == best


def test_affinity_propagation_refuses_many_users_and_says_what_to_do():
    with pytest.raises(SettingError, match=r'cluster.method: .* 5 users .*; set it to "kmeans", or take at most 4'):
        exemplars(around(0, 5, 0.1, 0), seed=0, on_progress=no_progress, most=4)


def test_the_number_of_clusters_cannot_be_chosen_with_affinity_propagation():
    with pytest.raises(ValueError, match="count=3, but affinity-propagation finds the number itself"):
        ClusterSettings(method="affinity-propagation", count=3)
