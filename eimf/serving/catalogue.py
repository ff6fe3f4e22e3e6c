"""The items of a recommender: their ids and titles by `item_idx`, which counts from 1."""

import reprlib
from collections.abc import Sequence

import numpy as np

from eimf.errors import DataError


class Catalogue:
    """Ids and titles. The map from ids is made once."""

    def __init__(self, item_ids: Sequence[str], titles: Sequence[str | None] | None = None) -> None:
        self.item_ids = list(item_ids)
        """The id of `item_idx` is `item_ids[item_idx - 1]`."""
        self.titles = [None] * len(self.item_ids) if titles is None else list(titles)
        """To be shown; None for an item without one."""
        self._item_idx = {item_id: item_idx for item_idx, item_id in enumerate(self.item_ids, 1)}

    def __len__(self) -> int:
        return len(self.item_ids)

    def item_idx(self, item_ids: Sequence[str]) -> np.ndarray:
        """The item_idx of each id, 0 if it is unknown, [E] int64."""
        get = self._item_idx.get
        return np.array([get(item_id, 0) for item_id in item_ids], dtype=np.int64)

    def title(self, item_id: str) -> str | None:
        """The title of an item; None if it has none or is unknown."""
        item_idx = self._item_idx.get(item_id, 0)
        return self.titles[item_idx - 1] if item_idx else None

    def example(self) -> str:
        """Shows in an error what ids look like."""
        return f"{self.item_ids[0]!r:.50}"

    def check(self, item_idx: np.ndarray) -> None:
        """Raises DataError for numbers that are not those of items."""
        if len(item_idx) and (item_idx.min() < 1 or item_idx.max() > len(self)):
            problem = f"{item_idx.min()} to {item_idx.max()}"
            raise DataError("item_idx", reprlib.repr(problem)[1:-1], f"give numbers from 1 to {len(self)}")
