from itertools import pairwise

import numpy as np

from eimf import schema
from eimf.esim.encode import encode_texts, normalise, to_column
from eimf.esim.fake import FakeEncoder
from eimf.esim.typical import nearest_to_centroid
from eimf.esim.vectors import user_vectors


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


def test_vectors_of_a_table_in_pieces_or_of_none():
    import pyarrow as pa

    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    pieces = [pa.table({schema.VECTOR: to_column(part)}) for part in (vectors[:1], vectors[1:])]
    np.testing.assert_array_equal(schema.vectors_of(pa.concat_tables(pieces)), vectors)
    assert schema.vectors_of(pa.concat_tables(pieces).slice(1, 0)).shape == (0, 3)
    np.testing.assert_array_equal(schema.vectors_of(pieces[1].slice(1, 2)), vectors[2:])


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


def test_user_vectors_in_many_blocks_and_of_a_history_longer_than_one(monkeypatch):
    rng = np.random.default_rng(2)
    items = normalise(rng.standard_normal((9, 4)).astype(np.float32))
    lengths = np.array([1, 7, 2, 2, 30, 1])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    events = rng.integers(1, 10, offsets[-1])
    whole = user_vectors(events, offsets, items)
    monkeypatch.setattr("eimf.esim.vectors._BLOCK_EVENTS", 4)
    np.testing.assert_array_equal(user_vectors(events, offsets, items), whole)


def test_typical_users_are_the_nearest_long_enough_members_ties_by_id():
    cluster = np.array([0, 0, 0, 1, 1, 3], np.int32)
    similarity = np.array([0.9, 0.8, 0.8, 0.5, 0.6, 0.1], np.float32)
    history = np.array([2, 5, 5, 1, 1, 9])
    found = nearest_to_centroid(cluster, similarity, history, min_history=3).to_pylist()
    # Cluster 0: user 0 is too short, 1 and 2 tie. Cluster 1: nobody is long enough, so the nearest. Cluster 2 is empty.
    assert [(row[schema.CLUSTER], row[schema.USER]) for row in found] == [(0, 1), (1, 4), (3, 5)]
