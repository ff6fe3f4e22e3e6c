"""Lexical vectors: term weights by hand, the decomposition against a dense one, and planted words."""

import math

import numpy as np
import pytest

from eimf.esim.lexical import lexical_vectors, tf_idf

TEXTS = ["Red apple pie", "red APPLE cake", "green tea", "green tea, tea", "quartz"]


def dense(texts: list[str]) -> np.ndarray:
    row, column, value, num_terms = tf_idf(texts)
    matrix = np.zeros((len(texts), num_terms))
    matrix[row, column] = value
    return matrix


def some_texts(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    words = np.array(["".join(map(chr, word)) for word in rng.integers(97, 123, (40, 5))])
    return [" ".join(rng.choice(words, rng.integers(3, 9), p=np.arange(1, 41) / 820)) for _ in range(count)]


def test_weights_by_hand():
    # Kept, in alphabetical order: apple, green, "green tea", red, "red apple", tea; of 2 texts each, so of one idf.
    matrix = dense(TEXTS)
    idf = 1 + math.log((1 + 5) / (1 + 2))
    first = np.array([idf, 0, 0, idf, idf, 0])
    fourth = np.array([0, idf, idf, 0, 0, (1 + math.log(2)) * idf])  # "tea" occurs twice
    wanted = [first, first, [0, 1, 1, 0, 0, 1], fourth, np.zeros(6)]
    norms = [math.sqrt(3) * idf, math.sqrt(3) * idf, math.sqrt(3), np.linalg.norm(fourth), 1]
    np.testing.assert_allclose(matrix, [np.array(row) / norm for row, norm in zip(wanted, norms, strict=True)])


def test_all_components_keep_every_cosine():
    matrix, vectors = dense(TEXTS), lexical_vectors(TEXTS, 16)
    np.testing.assert_allclose(vectors @ vectors.T, matrix @ matrix.T, atol=1e-6)
    assert vectors.shape == (5, 16) and vectors.dtype == np.float32
    assert not vectors[4].any()  # no word in common with any other
    assert not vectors[:, 5:].any()  # five texts span at most five directions


def test_fewer_components_are_those_of_a_dense_decomposition():
    texts = some_texts(60)
    left, values, _ = np.linalg.svd(dense(texts), full_matrices=False)
    wanted = left[:, :6] * values[:6]
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    vectors = lexical_vectors(texts, 6)
    np.testing.assert_allclose(vectors @ vectors.T, wanted @ wanted.T, atol=1e-4)
    np.testing.assert_array_equal(vectors, lexical_vectors(texts, 6))  # nothing is random


def test_what_is_written_differently_is_the_same_word():
    same = ["Caf\u00e9 N\u00b09 HP-12C", "CAFE\u0301 n\u00b09 hp-12c", "other words", "other words"]
    vectors = lexical_vectors(same, 4)
    assert vectors[0] @ vectors[1] == pytest.approx(1) and abs(vectors[0] @ vectors[2]) < 1e-6


def test_texts_without_blanks_share_pairs_of_characters():
    vectors = lexical_vectors(["\u5357\u4eac\u9262\u7b46", "\u7ea2\u9262\u7b46", "\u7ea2\u8336", "\u7eff\u8336"], 4)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.9  # the pair that the first two have in common is the only one that two texts have
    assert not vectors[3].any()


@pytest.mark.parametrize("texts", [[], [""], ["one of its kind"], ["a b", "c d"]])
def test_texts_that_share_nothing_are_zero(texts):
    vectors = lexical_vectors(texts, 3)
    assert vectors.shape == (len(texts), 3) and not vectors.any()
