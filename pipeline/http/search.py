"""Search of items, for people who type.

First comes the item with exactly this id, then titles that begin with the text, titles with a word that does, and
titles that hold it anywhere. Case and accents do not count.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

from eimf.serving.catalogue import Catalogue

_BLOCK = 4096
"""Titles in one text: a search holds the interpreter for the time of one block only."""
_END = "\n"


class Search:
    """Titles in blocks of plain text, in the order in which items are found."""

    def __init__(self, catalogue: Catalogue, order: np.ndarray) -> None:
        """`order` [N] has the item_idx of all items, those first that are to be found first."""
        self._catalogue = catalogue
        self._order = order
        self._blocks = [self._block(order[start : start + _BLOCK]) for start in range(0, len(order), _BLOCK)]

    def _block(self, order: np.ndarray) -> tuple[str, list[int]]:
        """A text with a line for each title, and where each line begins."""
        lines = [_END + " " + simple(self._catalogue.titles[item_idx - 1] or "") for item_idx in order.tolist()]
        starts, position = [], 0
        for line in lines:
            starts.append(position)
            position += len(line)
        return "".join(lines) + _END, starts

    def find(self, query: str, count: int) -> list[str]:
        """Ids of at most `count` items; the first ones of the order for an empty query."""
        ids = self._catalogue.item_ids
        text = simple(query)
        if not text:
            return [ids[item_idx - 1] for item_idx in self._order[:count]]
        found = dict.fromkeys([query] if self._catalogue.item_idx([query])[0] else [])
        for pattern in (f"{_END} {text}", f" {text}", text):
            for item_idx in self._matches(pattern):
                if len(found) == count:
                    return list(found)
                found[ids[item_idx - 1]] = None
        return list(found)[:count]

    def _matches(self, pattern: str) -> Iterator[int]:
        """The items whose title has the pattern."""
        for number, (text, starts) in enumerate(self._blocks):
            position = text.find(pattern)
            while position >= 0:
                line = bisect_right(starts, position) - 1
                yield int(self._order[number * _BLOCK + line])
                after = starts[line + 1] if line + 1 < len(starts) else len(text)
                position = text.find(pattern, after)


def simple(text: str) -> str:
    """Lower case without accents, words divided by single blanks."""
    if not text.isascii():
        text = "".join(part for part in unicodedata.normalize("NFKD", text) if not unicodedata.combining(part))
    return " ".join(text.casefold().split())
