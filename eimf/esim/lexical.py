"""Lexical vectors of texts: which words they share, as tf-idf with a truncated singular value decomposition (LSA).

Our decision: a sentence encoder blurs model numbers, sizes and names of series; here they count as what they are. Words
and pairs of neighboring words are the terms. A term that only one text has says nothing about another text, so it is
left out. Texts of a script without blanks are read as pairs of neighboring characters. Nothing is random: the subspace
iteration starts from a fixed seed, and the sign of each component is fixed.

Shapes: N texts, T terms, F components, Q columns of the iterated subspace.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from eimf.vectors import normalize

_WORD = re.compile(r"[^\W_]+(?:[.'\u2019-][^\W_]+)*")
_WITHOUT_BLANKS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Thai, Lao, Burmese, Khmer, kana and Chinese characters."""
_FEWEST_TEXTS = 2
_SEED, _ROUNDS, _OVERSAMPLING = 2026, 8, 32
"""Rounds of the subspace iteration, and columns in addition to the components: the last components need both."""


def lexical_vectors(texts: Sequence[str], width: int) -> np.ndarray:
    """The first `width` components of each text, L2-normalised, [N, width] float32. A text without a term that another
    one has is 0; so are components beyond the number of terms or texts."""
    rows, columns, values, num_terms = tf_idf(texts)
    vectors = np.zeros((len(texts), width), np.float32)
    if num_terms:
        matrix = torch.sparse_coo_tensor(
            torch.from_numpy(np.stack([rows, columns])),
            torch.from_numpy(values),
            (len(texts), num_terms),
            check_invariants=True,
        )
        components = _principal(matrix, width).numpy()
        vectors[:, : components.shape[1]] = components
    return normalize(vectors)


def tf_idf(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The weights of the terms of each text as rows, columns and float64 values, and the number T of terms, which are
    in alphabetical order. A term that occurs n times weighs (1 + ln n) (1 + ln((1 + N) / (1 + texts with it))), divided
    by the norm of its text."""
    number: dict[str, int] = {}
    codes = [np.array([number.setdefault(term, len(number)) for term in _terms(text)], np.int64) for text in texts]
    row = np.repeat(np.arange(len(texts)), [len(part) for part in codes])
    pairs = row * max(1, len(number)) + np.concatenate([*codes, np.zeros(0, np.int64)])
    pair, count = np.unique(pairs, return_counts=True)
    row, column = np.divmod(pair, max(1, len(number)))
    num_texts = np.bincount(column, minlength=len(number))
    alphabetical = np.array(sorted(number), object)
    kept = [number[term] for term in alphabetical if num_texts[number[term]] >= _FEWEST_TEXTS]
    new_number = np.full(len(number), -1)
    new_number[kept] = np.arange(len(kept))
    inside = new_number[column] >= 0
    row, column, count = row[inside], column[inside], count[inside]
    weight = (1 + np.log(count)) * (1 + np.log((1 + len(texts)) / (1 + num_texts[column])))
    norm = np.sqrt(np.bincount(row, weights=weight**2, minlength=len(texts)))
    return row, new_number[column], weight / norm[row], len(kept)


def _terms(text: str) -> Iterator[str]:
    """Words, and pairs of neighboring words, of a text without regard to case and form of writing."""
    words: list[str] = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        if _WITHOUT_BLANKS.search(word) and len(word) > 1:
            words += [word[place : place + 2] for place in range(len(word) - 1)]
        else:
            words.append(word)
    yield from words
    yield from (f"{first} {second}" for first, second in pairwise(words))


def _principal(matrix: Tensor, width: int) -> Tensor:
    """The rows of the sparse `matrix` [N, T] in the space of its largest singular vectors, U S, [N, F] float64, with F
    at most `width`: subspace iteration, then an exact decomposition within the subspace."""
    num_columns = min(width + _OVERSAMPLING, *matrix.shape)
    transposed = matrix.t().coalesce()
    start = np.random.default_rng(_SEED).standard_normal((matrix.shape[1], num_columns))
    basis = torch.linalg.qr(torch.sparse.mm(matrix, torch.from_numpy(start))).Q  # [N, Q]
    for _ in range(_ROUNDS):
        basis = torch.linalg.qr(torch.sparse.mm(matrix, torch.sparse.mm(transposed, basis))).Q
    projected = torch.sparse.mm(transposed, basis)  # [T, Q], as the transposed matrix within the subspace
    values, rotation = torch.linalg.eigh(projected.T @ projected)
    count = min(width, num_columns)
    values, rotation = values.flip(0)[:count].clamp(min=0), rotation.flip(1)[:, :count]
    left = basis @ rotation
    # The sign of a component is arbitrary: its largest entry is made positive, so every machine gets the same.
    sign = left.gather(0, left.abs().argmax(dim=0, keepdim=True)).sign()
    scale = torch.where(values > values[0] * 1e-12, values.sqrt(), 0.0)
    return left * sign * scale
