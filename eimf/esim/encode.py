"""Encode texts as unit vectors, by any encoder behind the interface."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from eimf.vectors import normalize

Vectors = np.ndarray


class Encoder(Protocol):
    """A frozen text encoder."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors [n, S] float32 of `n` texts, in their order; not necessarily of length 1."""
        ...

    def close(self) -> None:
        """Free what the model holds. Call nothing after it."""


def encode_texts(
    encoder: Encoder, texts: Sequence[str], batch_size: int, on_progress: Callable[[int], None]
) -> Vectors:
    """L2-normalised vectors [n, S] float32. Equal texts are encoded once and get equal vectors (METHOD, fault 1).

    The longest come first, so that the texts of a batch have similar lengths. `on_progress` gets the number of texts of
    each finished batch.
    """
    distinct = sorted(set(texts), key=lambda text: (-len(text), text))
    table = np.zeros((0, 1), np.float32)
    for start in range(0, len(distinct), batch_size):
        block = normalize(np.asarray(encoder.encode(distinct[start : start + batch_size]), dtype=np.float32))
        if start == 0:
            table = np.empty((len(distinct), block.shape[1]), np.float32)
        table[start : start + len(block)] = block
        on_progress(len(block))
    row_of = {text: row for row, text in enumerate(distinct)}
    return table[[row_of[text] for text in texts]]


def to_column(vectors: Vectors) -> pa.Array:
    """[n, S] as an Arrow column of fixed-size lists; `schema.vectors_of` reads it."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
