import numpy as np

from eimf import schema
from eimf.esim.encode import encode_texts, to_column
from eimf.esim.fake import FakeEncoder


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
