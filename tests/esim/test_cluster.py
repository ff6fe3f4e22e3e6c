"""Clusters of planted users, of any small set of users, and of users in two levels. U users, C clusters, S width."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.config import ClusterSettings
from eimf.errors import SettingError
from eimf.esim.cluster import (
    NO_CLUSTER,
    add_clusters,
    assign,
    cluster_count,
    cluster_users,
    fit,
    sample_size,
    total_progress,
)
from eimf.esim.kmeans import kmeans, no_progress
from eimf.esim.two_level import split_count, two_level
from eimf.scratch import IN_MEMORY, Scratch
from eimf.vectors import normalize


def cluster(vectors, count, seed=3, threads=1, **options):
    return cluster_users(vectors, count, iterations=20, seed=seed, threads=threads, on_progress=no_progress, **options)


def planted(clusters: int, members: int, width: int, noise: float, seed: int = 1) -> np.ndarray:
    """Unit vectors [clusters * members, S], the members of a centre one after the other."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(normalize(rng.standard_normal((clusters, width))), members, axis=0)
    return normalize(centres + noise * normalize(rng.standard_normal(centres.shape)))


def check(vectors: np.ndarray, clusters) -> None:
    """Properties of the clusters of any users; those of zeros are in none."""
    present = vectors.any(axis=1)
    assert (clusters.cluster[~present] == NO_CLUSTER).all() and not clusters.similarity[~present].any()
    vectors, number, similarity = vectors[present], clusters.cluster[present], clusters.similarity[present]
    count = len(clusters.centroids)
    np.testing.assert_allclose(np.linalg.norm(clusters.centroids, axis=1), 1, atol=1e-5)
    sizes = np.bincount(number, minlength=count)
    assert len(sizes) == count and (sizes >= 1).all() and sizes.sum() == len(vectors)
    cosine = vectors @ clusters.centroids.T  # [U, C]
    np.testing.assert_allclose(similarity, cosine[np.arange(len(vectors)), number], atol=1e-5)
    np.testing.assert_allclose(similarity, cosine.max(axis=1, initial=-2), atol=1e-5)


@pytest.mark.parametrize("flat_work", [10**8, 0], ids=["flat", "two levels"])
def test_planted_clusters_are_recovered_exactly(flat_work):
    vectors = planted(clusters=8, members=30, width=16, noise=0.1)
    clusters = cluster(vectors, 8, flat_work=flat_work)
    check(vectors, clusters)
    groups = clusters.cluster.reshape(8, 30)
    assert (groups == groups[:, :1]).all() and len(set(groups[:, 0])) == 8
    means = normalize(vectors.reshape(8, 30, 16).mean(axis=1))
    np.testing.assert_allclose(clusters.centroids[groups[:, 0]], means, atol=1e-5)


@pytest.mark.parametrize("flat_work", [10**8, 0], ids=["flat", "two levels"])
def test_vectors_in_files_have_the_same_clusters(flat_work, tmp_path):
    vectors = planted(clusters=8, members=30, width=16, noise=1)
    vectors[::7] = 0  # users without a vector
    scratch = Scratch(tmp_path, 0)
    mapped = scratch.empty(vectors.shape, np.float32)
    mapped[:] = vectors
    whole, bounded = (
        cluster(of_users, 12, flat_work=flat_work, scratch=place)
        for of_users, place in ((vectors, IN_MEMORY), (mapped, scratch))
    )
    check(mapped, bounded)
    for name in ("centroids", "cluster", "similarity"):
        assert getattr(whole, name).tobytes() == getattr(bounded, name).tobytes()


@settings(max_examples=40)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 4), st.integers(0, 999))
def test_every_vector_is_assigned_to_the_nearest_centroid(users, clusters, width, seed):
    rng = np.random.default_rng(seed)
    vectors, centroids = (rng.integers(-2, 3, (count, width)).astype(np.float32) for count in (users, clusters))
    numbers, cosines = assign(vectors / 64, centroids, no_progress)  # exact, and shorter than 1
    for vector, number, cosine in zip(vectors, numbers, cosines, strict=True):
        products = [float(vector @ centroid) for centroid in centroids]
        assert products.index(max(products)) == number  # of equal ones the first
        assert cosine == max(products) / 64


def test_assignment_is_brute_force_and_ties_go_to_the_lower_number():
    vectors = planted(clusters=5, members=40, width=16, noise=1.0)
    centroids = vectors[[0, 40, 40, 80]]
    numbers, cosines = assign(vectors, centroids, no_progress)
    brute = np.where(np.arange(4) == 2, -2, vectors @ centroids.T)  # 2 equals 1, so nobody is in it
    np.testing.assert_array_equal(numbers, brute.argmax(axis=1))
    np.testing.assert_allclose(cosines, brute.max(axis=1), atol=1e-6)


# Coordinates from a few numbers: many vectors are equal, opposite, or nothing but zeros.
small_users = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.integers(-2, 2), min_size=width, max_size=width), min_size=1, max_size=40)
)


@settings(max_examples=80, deadline=None)
@given(small_users, st.data())
def test_every_user_has_the_nearest_cluster_and_no_cluster_is_empty(rows, data):
    vectors = normalize(np.array(rows, np.float32))
    count = data.draw(st.integers(1, len(vectors)))
    flat_work = data.draw(st.sampled_from([0, 10**8]))
    clusters = cluster(vectors, count, seed=data.draw(st.integers(0, 5)), flat_work=flat_work)
    check(vectors, clusters)
    different = np.unique(vectors[vectors.any(axis=1)].round(4) + 0.0, axis=0)
    assert len(clusters.centroids) == min(count, len(different))  # none, if nobody has a vector


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(2, 8), st.integers(0, 9), st.data())
def test_users_that_all_differ_give_as_many_clusters_as_asked_for(users, width, seed, data):
    vectors = normalize(np.random.default_rng(seed).standard_normal((users, width)).astype(np.float32))
    count = data.draw(st.integers(1, users))
    clusters = cluster(vectors, count)
    check(vectors, clusters)
    assert len(clusters.centroids) <= count
    if len(np.unique(vectors.round(2), axis=0)) == users:
        assert len(clusters.centroids) == count


def test_a_cluster_for_every_user():
    vectors = planted(clusters=50, members=1, width=12, noise=0.0)
    clusters = cluster(vectors, 50)
    assert sorted(clusters.cluster) == list(range(50))
    np.testing.assert_allclose(clusters.similarity, 1, atol=1e-6)


@pytest.mark.parametrize("flat_work", [10**8, 0], ids=["flat", "two levels"])
def test_equal_users_share_one_cluster_and_clusters_without_members_are_dropped(flat_work):
    vectors = np.repeat(planted(clusters=7, members=1, width=6, noise=0.0), 100, axis=0)
    clusters = cluster(vectors, 40, flat_work=flat_work)
    check(vectors, clusters)
    assert len(clusters.centroids) == 7
    assert [len(set(group)) for group in clusters.cluster.reshape(7, 100)] == [1] * 7


def test_vectors_whose_length_is_not_quite_one_do_not_hang():
    vectors = np.repeat(planted(clusters=3, members=1, width=6, noise=0.0), 4, axis=0) * np.float32(0.999)
    clusters = cluster(vectors, 9)
    assert np.bincount(clusters.cluster).tolist() == [4, 4, 4] and len(clusters.centroids) == 3


def test_one_user_and_users_without_a_direction():
    one = cluster(np.array([[0.6, 0.8]], np.float32), 1)
    np.testing.assert_allclose(one.centroids, [[0.6, 0.8]], atol=1e-6)
    nothing = cluster(np.zeros((3, 2), np.float32), 2)
    assert nothing.centroids.shape == (0, 2)
    assert nothing.cluster.tolist() == [NO_CLUSTER] * 3 and nothing.similarity.tolist() == [0, 0, 0]
    mixed = cluster(np.array([[0, 0], [0, 1], [0, 0], [1, 0]], np.float32), 3)
    assert len(mixed.centroids) == 2 and mixed.similarity.tolist() == [0, 1, 0, 1]
    assert mixed.cluster[[0, 2]].tolist() == [NO_CLUSTER] * 2 and set(mixed.cluster[[1, 3]]) == {0, 1}
    opposite = cluster(np.array([[0, 1], [0, -1], [0, 1], [0, -1]], np.float32), 1)  # their mean has no direction
    assert sorted(opposite.similarity.tolist()) == [-1, -1, 1, 1]


@pytest.mark.parametrize("flat_work", [10**8, 0], ids=["flat", "two levels"])
def test_one_seed_gives_one_result_with_any_number_of_threads_and_another_seed_another(flat_work):
    vectors = planted(clusters=60, members=20, width=24, noise=1.5)
    first = cluster(vectors, 40, flat_work=flat_work)
    for threads in (1, 2):
        again = cluster(vectors, 40, threads=threads, flat_work=flat_work)
        np.testing.assert_array_equal(first.cluster, again.cluster)
        np.testing.assert_array_equal(first.centroids, again.centroids)
    assert (first.cluster != cluster(vectors, 40, seed=4, flat_work=flat_work).cluster).any()


def test_two_levels_come_within_three_thousandths_of_flat():
    vectors = planted(clusters=300, members=20, width=32, noise=0.6)
    similarity: dict[str, list[float]] = {"flat": [], "two levels": []}
    for seed in range(3):  # one seed of either differs from the next by .2 %
        flat = kmeans(vectors, 200, 25, np.random.default_rng(seed), no_progress)
        levels = two_level(vectors, 200, 25, np.random.default_rng(seed), no_progress, fine=100)
        for way, centroids in (("flat", flat), ("two levels", levels)):
            similarity[way].append(float(assign(vectors, centroids, no_progress)[1].mean()))
    assert np.mean(similarity["two levels"]) > 0.997 * np.mean(similarity["flat"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.data())
def test_clusters_are_split_by_largest_remainder(sizes, data):
    groups, members = sum(size > 0 for size in sizes), sum(sizes)
    count = data.draw(st.integers(groups, members))
    shares = split_count(count, np.array(sizes)).tolist()
    assert sum(shares) == count
    assert all(min(size, 1) <= share <= size for share, size in zip(shares, sizes, strict=True))
    # One to each group, and count - groups in proportion to the members beyond the first: rounded down or up, and the
    # groups that are rounded up have the largest fractions.
    quotas = [Fraction((count - groups) * max(size - 1, 0), max(members - groups, 1)) for size in sizes]
    beyond = [share - min(size, 1) for share, size in zip(shares, sizes, strict=True)]
    up = [quota - int(quota) for quota, more in zip(quotas, beyond, strict=True) if more > quota]
    down = [quota - more for quota, more in zip(quotas, beyond, strict=True) if more <= quota]
    assert all(int(quota) <= more <= int(quota) + 1 for quota, more in zip(quotas, beyond, strict=True))
    assert not up or not down or min(up) >= max(down)


def test_largest_remainder_by_hand():
    # 10 for 6 + 3 + 1 members + an empty group, 5 of them: one each leaves 2 for 5 + 2 + 0 spare members of 7:
    # 10/7 and 4/7, so 1 and 0 and the last one to the larger remainder, 4/7 against 3/7.
    assert split_count(5, np.array([6, 0, 3, 1])).tolist() == [1 + 1, 0, 1 + 1, 1]


def test_number_of_clusters():
    assert cluster_count(943, None, 0.04, 4096) == 38  # 37.72
    assert cluster_count(5, None, 0.04, 4096) == 1
    assert cluster_count(5, 5, 0.04, 4096) == 5
    assert cluster_count(102_400, None, 0.04, 4096) == 4096
    assert cluster_count(1_000_000, None, 0.04, 4096) == 4096  # 40,000 without the cap
    assert cluster_count(1_000_000, None, 0.04, 100_000) == 40_000
    assert cluster_count(1_000_000, 40_000, 0.04, 4096) == 40_000  # asked for
    with pytest.raises(SettingError, match=r"cluster\.count: 6 clusters for 5 users; set it to 5"):
        cluster_count(5, 6, 0.04, 4096)


def test_fit_samples_all_users_up_to_fifty_thousand_and_256_per_cluster_beyond():
    assert [sample_size(users, 4096) for users in (943, 50_000, 1_000_000)] == [943, 50_000, 1_000_000]
    assert sample_size(10_000_000, 4096) == 256 * 4096
    assert sample_size(10_000_000, 10) == 50_000


@pytest.mark.parametrize(("users", "count"), [(300, 7), (50_100, 2)], ids=["all users", "a sample"])
def test_progress_ends_at_the_announced_number(users, count):
    vectors = normalize(np.random.default_rng(0).standard_normal((users, 4)).astype(np.float32))
    ticks: list[int] = []
    cluster_users(vectors, count, iterations=9, seed=1, threads=1, on_progress=ticks.append)
    assert sum(ticks) == total_progress(users, count, 9) and min(ticks) >= 0


def test_rounds_end_where_the_next_would_gain_next_to_nothing():
    vectors, ticks = planted(clusters=8, members=30, width=16, noise=0.1), []
    first = kmeans(vectors, 8, 1000, np.random.default_rng(3), ticks.append)
    assert sum(ticks) == 1000 * len(vectors) and len(ticks) < 20  # what is left is told at once
    np.testing.assert_allclose(first, kmeans(vectors, 8, 25, np.random.default_rng(3), no_progress))


def test_fit_alone_gives_the_centroids_that_clustering_assigns_to():
    vectors = planted(clusters=8, members=30, width=16, noise=0.1)
    centroids = fit(vectors[::2], 8, iterations=20, seed=3, on_progress=no_progress)
    numbers, _ = assign(vectors[1::2], centroids, no_progress)  # users that fit has not seen
    assert (numbers.reshape(8, 15) == assign(vectors[::2], centroids, no_progress)[0].reshape(8, 15)).all()


@pytest.mark.parametrize("new", [0, 7])
def test_only_new_outliers_form_further_clusters_whatever_the_rounding_of_the_old_ones(new):
    """The cosines of before are recomputed with some rounding; the outliers of before stay where they are."""
    rng = np.random.default_rng(4)
    vectors = normalize(np.eye(4, 16, dtype=np.float32)[rng.integers(0, 3, 5000)] + rng.normal(0, 0.001, (5000, 16)))
    before = cluster(vectors, 3)
    noise = rng.uniform(-4e-7, 4e-7, len(vectors)).astype(np.float32)
    before = replace(before, similarity=before.similarity + noise)
    outliers = normalize(np.eye(16, dtype=np.float32)[np.full(new, 9)] + rng.normal(0, 0.01, (new, 16)))
    added = add_clusters(
        before, np.concatenate([vectors, outliers]).astype(np.float32), ClusterSettings(), beyond=0.01, threads=1
    )
    assert len(added.clusters.centroids) - len(before.centroids) == (new > 0)
    assert added.is_beyond[5000:].all() and 0 < added.is_beyond[:5000].mean() < 0.1
    assert (added.clusters.cluster[:5000] == before.cluster).all()
