"""Sources of scores: each says for every person and every item how much speaks for the item.

Shapes: C cases, c cases of a block, N items, T window, K vectors of a person, R coordinates, G columns of a source.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from eimf.choice.cases import Choices
from eimf.data.cooccurrence import Cooccurrence
from eimf.data.windows import flat_ranges

_BLOCK = 1 << 22


class Source(ABC):
    """A named source. Its scores are one or more columns, each with a weight of its own; it adds something or nothing
    as a whole."""

    name: str

    @abstractmethod
    def scores(self, choices: Choices, cases: slice) -> np.ndarray:
        """Scores [c, G, N] float32 for consecutive cases."""


@dataclass(frozen=True)
class ItemSource(Source):
    """Numbers of the items alone: `values` [G, N], the same for everybody."""

    name: str
    values: np.ndarray

    def scores(self, choices: Choices, cases: slice) -> np.ndarray:
        shape = (cases.stop - cases.start, *self.values.shape)
        return np.broadcast_to(self.values.astype(np.float32), shape)

    def shuffled(self, order: np.ndarray) -> "ItemSource":
        """The control: each item has the numbers of another one, as `order` [N] says."""
        return ItemSource(f"{self.name}, shuffled", self.values[:, order])


@dataclass(frozen=True)
class PairSource(Source):
    """How well an item goes with those of a history: <f(h), g(j)>, as a mean over the history, and for its last item.

    `history` [N, R] has f, `item` [N, R] has g of every item; `people` [C, 2, R] are the mean and the last f of each
    case, minus what people have on average, `center` [2, R]: so the source tells people apart, and says nothing of an
    item as such. `pair_source` makes it."""

    name: str
    history: np.ndarray
    item: np.ndarray
    people: np.ndarray
    center: np.ndarray

    def scores(self, choices: Choices, cases: slice) -> np.ndarray:
        scores: np.ndarray = self.people[cases] @ self.item.T  # [c, 2, N]
        return scores


@dataclass(frozen=True)
class PersonSource(Source):
    """max_k <v_k, g(j)> with vectors `people` [C, K, R] of each case, of which `mask` [C, K] exist, and `item` [N, R].
    The score of a trained model is one, and so are the interests of a person's cluster. `center` [N], if there is one,
    is subtracted."""

    name: str
    people: np.ndarray
    item: np.ndarray
    mask: np.ndarray | None = None
    center: np.ndarray | None = None

    def scores(self, choices: Choices, cases: slice) -> np.ndarray:
        people = self.people[cases]
        best = np.full((len(people), len(self.item)), -np.inf, np.float32)
        for k in range(people.shape[1]):
            part = people[:, k] @ self.item.T
            if self.mask is not None:
                part[~self.mask[cases, k]] = -np.inf
            np.maximum(best, part, out=best)
        best[np.isneginf(best[:, 0])] = 0  # a person without any vector
        if self.center is not None:
            best -= self.center
        return best[:, None]


@dataclass(frozen=True)
class FixedSource(Source):
    """Scores that were computed before: `values` [C, G, N] float32."""

    name: str
    values: np.ndarray

    def scores(self, choices: Choices, cases: slice) -> np.ndarray:
        return self.values[cases]


def similarity_source(
    name: str, similarity: Cooccurrence, choices: Choices, order: np.ndarray | None = None
) -> FixedSource:
    """How similar an item is to those of a history: the mean over the history, and to its last item, each minus its
    mean over the people of `choices`. With an `order` [N] it is the control: every item has the neighbors of another
    one."""
    num_items, count = similarity.num_items, len(choices)
    values = np.zeros((count, 2, num_items), np.float32)
    place = np.arange(num_items) if order is None else np.argsort(order)  # the item that has the vectors of this row
    case, position = flat_ranges(np.zeros(count, np.int64), choices.length)
    row = choices.window[case, position] - 1
    row = row if order is None else order[row]
    is_last = position == choices.length[case] - 1
    sizes = np.diff(similarity.offsets)
    step = max(1, (_BLOCK * 4) // max(1, int(sizes.max(initial=1))))
    for start in range(0, len(row), step):
        block = slice(start, start + step)
        entry, index = flat_ranges(similarity.offsets[row[block]], sizes[row[block]])
        of_case, neighbor = case[block][entry], place[similarity.neighbor_row[index]]
        weight = similarity.similarity[index]
        first, last = int(case[block][0]), int(case[block][-1]) + 1
        flat, size = (of_case - first) * num_items + neighbor, (last - first) * num_items
        mean = np.bincount(flat, weights=weight / choices.length[of_case], minlength=size)
        of_last = is_last[block][entry]
        recent = np.bincount(flat[of_last], weights=weight[of_last], minlength=size)
        values[first:last, 0] += mean.reshape(-1, num_items)
        values[first:last, 1] += recent.reshape(-1, num_items)
    return FixedSource(name, values - values.mean(axis=0))


def pooled(vectors: np.ndarray, choices: Choices) -> np.ndarray:
    """The mean of the `vectors` [N, R] of each window, and that of its last item, [C, 2, R] float32."""
    padded = np.vstack([np.zeros((1, vectors.shape[1]), np.float32), vectors.astype(np.float32, copy=False)])
    window, length = choices.window, choices.length
    result = np.empty((len(window), 2, vectors.shape[1]), np.float32)
    step = max(1, _BLOCK // (window.shape[1] * vectors.shape[1]))
    for start in range(0, len(window), step):
        block = slice(start, start + step)
        result[block, 0] = padded[window[block]].sum(axis=1) / length[block, None]
    result[:, 1] = padded[window[np.arange(len(window)), length - 1]]
    return result


def pair_source(
    name: str, history: np.ndarray, item: np.ndarray, choices: Choices, order: np.ndarray | None = None
) -> PairSource:
    """The source for the people of `choices`. With an `order` [N] it is the control: every item has the vectors of
    another one."""
    if order is not None:
        history, item = history[order], item[order]
    people = pooled(history, choices)
    center = people.mean(axis=0, dtype=np.float64).astype(np.float32)
    return PairSource(name, history, item, people - center, center)


def centered(source: PersonSource, choices: Choices) -> PersonSource:
    """The source minus its mean over the people of `choices`: it tells people apart, and says nothing of an item as
    such."""
    total = np.zeros(len(source.item))
    for start in range(0, len(choices), 256):
        block = slice(start, min(start + 256, len(choices)))
        total += source.scores(choices, block)[:, 0].sum(axis=0, dtype=np.float64)
    return replace(source, center=(total / len(choices)).astype(np.float32))


def item_order(num_items: int, seed: int) -> np.ndarray:
    """An order of the items in which none keeps its place, [N]: for shuffled controls."""
    circle = np.random.default_rng(seed).permutation(num_items)
    order = np.empty(num_items, np.int64)
    order[circle] = np.roll(circle, 1)
    return order
