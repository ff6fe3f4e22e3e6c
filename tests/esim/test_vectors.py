from itertools import pairwise

import numpy as np
import pytest

from eimf import schema
from eimf.errors import SettingError
from eimf.esim.cluster import cluster_count, spherical_kmeans
from eimf.esim.encode import encode_texts, normalise, to_column
from eimf.esim.fake import FakeEncoder
from eimf.esim.typical import nearest_to_centroid
from eimf.esim.user_vectors import user_vectors


class CountingEncoder(FakeEncoder):
    """The fake, and how many texts it was given."""

    seen = 0

    def encode(self, texts):
        self.seen += len(texts)
        return super().encode(texts)


def test_equal_texts_are_encoded_once_and_batches_do_not_matter():
    texts = ["red fox", "blue whale", "red fox", "", "a very long line of text"]
    encoder = CountingEncoder()
    one = encode_texts(encoder, texts, 1, lambda _: None)
    assert encoder.seen == 4
    np.testing.assert_array_equal(one, encode_texts(FakeEncoder(), texts, 64, lambda _: None))
    np.testing.assert_array_equal(one[0], one[2])
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, rtol=1e-6)


def test_the_fake_encoder_puts_texts_with_common_words_close():
    a, b, c = encode_texts(
        FakeEncoder(256), ["jazz trumpet solo", "jazz trumpet duet", "river fishing"], 8, lambda _: None
    )
    assert a @ b > 0.5 > a @ c


def test_vector_column_round_trip():
    import pyarrow as pa

    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(schema.vectors_of(pa.table({schema.VECTOR: to_column(vectors)})), vectors)


def test_user_vectors_equal_a_loop():
    rng = np.random.default_rng(0)
    items = normalise(rng.standard_normal((20, 8)).astype(np.float32))
    lengths = rng.integers(1, 9, 50)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    events = rng.integers(1, 21, offsets[-1])
    wanted = []
    for begin, end in pairwise(offsets):
        mean = items[events[begin:end] - 1].mean(axis=0)
        wanted.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(user_vectors(events, offsets, items), wanted, atol=1e-6)


def test_kmeans_finds_planted_clusters_and_its_assignment_is_brute_force():
    rng = np.random.default_rng(1)
    centres = np.eye(5, 16, dtype=np.float32)
    vectors = normalise(np.repeat(centres, 30, axis=0) + 0.1 * rng.standard_normal((150, 16)).astype(np.float32))
    found = spherical_kmeans(vectors, 5, iterations=20, seed=3, threads=1)
    cosine = vectors @ found.centroids.T
    np.testing.assert_array_equal(found.cluster, cosine.argmax(axis=1))
    np.testing.assert_allclose(found.similarity, cosine.max(axis=1), atol=1e-6)
    assert all(len(set(found.cluster[start : start + 30])) == 1 for start in range(0, 150, 30))
    again = spherical_kmeans(vectors, 5, iterations=20, seed=3, threads=1)
    np.testing.assert_array_equal(found.centroids, again.centroids)


def test_number_of_clusters():
    assert cluster_count(943, None, 0.04) == 38  # 37.72
    assert cluster_count(5, None, 0.04) == 1
    assert cluster_count(5, 5, 0.04) == 5
    with pytest.raises(SettingError, match=r"cluster\.count: 6 clusters for 5 users; set it to 5"):
        cluster_count(5, 6, 0.04)


def test_typical_users_are_the_nearest_long_enough_members_ties_by_id():
    cluster = np.array([0, 0, 0, 1, 1, 3], np.int32)
    similarity = np.array([0.9, 0.8, 0.8, 0.5, 0.6, 0.1], np.float32)
    history = np.array([2, 5, 5, 1, 1, 9])
    found = nearest_to_centroid(cluster, similarity, history, min_history=3).to_pylist()
    # Cluster 0: user 0 is too short, 1 and 2 tie. Cluster 1: nobody is long enough, so the nearest. Cluster 2 is empty.
    assert [(row[schema.CLUSTER], row[schema.USER]) for row in found] == [(0, 1), (1, 4), (3, 5)]
