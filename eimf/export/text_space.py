"""The space in which texts are compared: whitened by the items, so that their common part does not count.

Shapes: N items, S text width, F components.
"""

from dataclasses import dataclass

import numpy as np

from eimf.vectors import normalize

COMPONENTS = 128
"""F, as for the texts in the item vectors."""


@dataclass(frozen=True)
class TextSpace:
    """`mean` [S], and `directions` [S, F]: principal components, scaled to variance 1."""

    mean: np.ndarray
    directions: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Text vectors [n, S] as unit vectors [n, F] float32."""
        return normalize((vectors - self.mean) @ self.directions)


def text_space(item_texts: np.ndarray, components: int = COMPONENTS) -> TextSpace:
    """The space of items with text vectors [N, S]: their first F principal components, fewer if they vary in fewer."""
    mean = item_texts.mean(axis=0, dtype=np.float64)
    centered = item_texts - mean
    values, vectors = np.linalg.eigh(centered.T @ centered / len(centered))
    values, vectors = values[::-1][:components], vectors[:, ::-1][:, :components]
    varies = values > max(values[0], 1e-12) * 1e-9
    return TextSpace(mean, vectors[:, varies] / np.sqrt(values[varies]))
