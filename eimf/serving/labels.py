"""Names of interests and items: phrases of the LLM that stand as vectors in the space of the items.

They were chosen, placed and checked at export (`eimf.export.labels`), which has the texts. Here a name is looked up
by cosine: no text, no LLM. An interest or item that no name fits has none.

Shapes: L labels, N items, W base width (of `eimf.serving.manifest`), n items asked for.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from eimf.vectors import unit

NO_LABEL = -1


class Label(BaseModel):
    """One name."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    interest_ids: tuple[int, ...] = ()
    """Rows of the `interests` artifact that it was made from."""
    item_idx: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """A few items that show what it means."""


class LabelSettings(BaseModel):
    """What the manifest of a bundle says about its labels."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    count: Annotated[int, Field(ge=1)]
    """L."""
    threshold: float
    """The cosine from which an interest has the name of its nearest label; above 1 if none can be trusted."""
    item_threshold: float | None = None
    """The same for an item. None: as for an interest."""
    figures: dict[str, float] = {}
    """How labels were chosen, and how well they agree with the items' texts, for people."""


class Labels:
    """Names with their vectors. Labels have numbers from 0; -1 stands for no label."""

    def __init__(
        self,
        names: Sequence[str],
        vectors: np.ndarray,
        item_labels: np.ndarray,
        *,
        threshold: float,
        item_threshold: float | None = None,
        menu: Sequence[int] = (),
    ) -> None:
        """`vectors` [L, W] are unit vectors in the space of the items, `item_labels` [N] the label of items 1 to N or
        -1; `threshold` is the cosine from which an interest has a label, `item_threshold` the same for an item (None:
        as for an interest); `menu` are label numbers in their order."""
        self.names, self.vectors, self.item_labels = list(names), vectors, item_labels
        self.threshold, self.menu = threshold, list(menu)
        self.item_threshold = threshold if item_threshold is None else item_threshold

    def __len__(self) -> int:
        return len(self.names)

    def of_interests(self, interests: np.ndarray) -> np.ndarray:
        """The label of each of the `interests` [..., W], or -1: [...]."""
        if not self.names:
            return np.full(interests.shape[:-1], NO_LABEL)
        cosine = unit(interests) @ self.vectors.T  # [..., L]
        return np.where(cosine.max(axis=-1) >= self.threshold, cosine.argmax(axis=-1), NO_LABEL)

    def of_items(self, item_idx: np.ndarray) -> np.ndarray:
        """The label of each item, or -1; of item 0, which is none, -1. The shape of `item_idx`."""
        return np.where(item_idx > 0, self.item_labels[np.maximum(item_idx, 1) - 1], NO_LABEL)

    def fit(self, label: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
        """Whether each `label` [n] fits the item whose vector is in the same row of `item_vectors` [n, W]: [n] bool;
        False for -1."""
        cosine = (unit(item_vectors) * self.vectors[label]).sum(axis=-1) if self.names else np.full(len(label), -1.0)
        fits: np.ndarray = (label >= 0) & (cosine >= self.item_threshold)
        return fits

    def name(self, label: int) -> str | None:
        """The name of a label; None for -1."""
        return self.names[label] if label >= 0 else None
