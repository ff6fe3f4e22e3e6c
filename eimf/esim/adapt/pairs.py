"""Pairs of items that follow each other in training histories, and which items are no negatives of each other.

Our decision: two different items at most `reach` places apart in a history are a pair, which weighs 1 / distance each
time. A pair counts only if its items are related: more users had both than would by chance, n_i n_j / U. Otherwise, on
dense data, nearly all items would be pairs, and none a negative. Related items, and items with equal texts, are never
negatives of each other.

Shapes: N items, U users, P pairs in both directions, H held-out pairs, B items of a batch. Rows count from 0.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eimf.data.cooccurrence import SMOOTHING, Cooccurrence
from eimf.data.histories import Histories
from eimf.data.windows import flat_ranges


@dataclass(frozen=True)
class Links:
    """Items linked to each item, in both directions: those of row r are `row` [P] at `offsets`[r] to `offsets`[r + 1],
    ascending, each with its `weight` [P]."""

    offsets: np.ndarray
    row: np.ndarray
    weight: np.ndarray

    def among(self, rows: np.ndarray) -> np.ndarray:
        """The weights of the links among the different `rows` [B], [B, B] float32; 0 without a link."""
        place = np.full(len(self.offsets) - 1, -1)
        place[rows] = np.arange(len(rows))
        first, index = flat_ranges(self.offsets[rows], np.diff(self.offsets)[rows])
        second = place[self.row[index]]
        weights = np.zeros((len(rows), len(rows)), np.float32)
        weights[first[second >= 0], second[second >= 0]] = self.weight[index[second >= 0]]
        return weights

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One linked item for each of `rows` [n], by weight. Every one of them must have a link."""
        begin, end = self._cumulative[self.offsets[rows]], self._cumulative[self.offsets[rows + 1]]
        index = np.searchsorted(self._cumulative, begin + rng.random(len(rows)) * (end - begin), side="right") - 1
        last = self.offsets[rows + 1] - 1  # rounding may lead beyond it
        drawn: np.ndarray = self.row[np.clip(index, self.offsets[rows], last)]
        return drawn

    @cached_property
    def _cumulative(self) -> np.ndarray:
        return np.concatenate([[0.0], np.cumsum(self.weight, dtype=np.float64)])


@dataclass(frozen=True)
class TrainingPairs:
    """`pairs` to learn, and `related` items, with weight 1, which include them and the pairs `held_out` [H, 2];
    `text` [N] numbers the items' texts: equal texts have equal numbers."""

    pairs: Links
    related: Links
    held_out: np.ndarray
    text: np.ndarray

    @cached_property
    def anchors(self) -> np.ndarray:
        """Rows of the items with a pair to learn."""
        return np.flatnonzero(np.diff(self.pairs.offsets))

    def comparable(self, rows: np.ndarray) -> np.ndarray:
        """Which of `rows` [B] are negatives of which, [B, B] bool: neither related nor equal in text."""
        text = self.text[rows]
        comparable: np.ndarray = (self.related.among(rows) == 0) & (text[:, None] != text[None, :])
        return comparable


def training_pairs(
    histories: Histories, cooccurrence: Cooccurrence, texts: list[str], *, reach: int, held_out: float, seed: int
) -> TrainingPairs:
    """Counts training events only. The share `held_out` of the pairs is drawn by `seed`."""
    _, text = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
    num_items = histories.num_items
    related = _related(cooccurrence, int((histories.num_train > 0).sum()))
    code, weight = _followers(histories, reach)
    known = np.repeat(np.arange(num_items), np.diff(related.offsets)) * num_items + related.row
    kept = np.isin(code, known, assume_unique=True) & (text[code // num_items] != text[code % num_items])
    code, weight = code[kept], weight[kept]
    left_out = np.zeros(len(code), bool)
    left_out[np.random.default_rng(seed).permutation(len(code))[: round(held_out * len(code))]] = True
    held = np.stack([code[left_out] // num_items, code[left_out] % num_items], axis=1)
    return TrainingPairs(_links(code[~left_out], weight[~left_out], num_items), related, held, text)


def shuffled(texts: list[str], seed: int) -> list[str]:
    """The control: each item with the text of another one, or rarely its own."""
    return [texts[row] for row in np.random.default_rng(seed).permutation(len(texts))]


def _related(cooccurrence: Cooccurrence, num_users: int) -> Links:
    """The items that occurred together with each item more often than by chance."""
    users = cooccurrence.users
    first = np.repeat(np.arange(len(users)), np.diff(cooccurrence.offsets))
    one, other = users[first], users[cooccurrence.neighbor_row]
    both = np.rint(cooccurrence.similarity * np.sqrt((one + SMOOTHING) * (other + SMOOTHING)))
    kept = both * num_users > one * other
    offsets = np.concatenate([[0], np.cumsum(np.bincount(first[kept], minlength=len(users)))])
    return Links(offsets, cooccurrence.neighbor_row[kept], np.ones(int(kept.sum()), np.float32))


def _followers(histories: Histories, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of different items, the smaller row first: `row * N + other row`, ascending, and their weights."""
    codes, weights = [np.zeros(0, np.int64)], [np.zeros(0)]
    for _, user, event in histories.training_blocks():
        row = histories.item_idx[event].astype(np.int64) - 1
        block, gaps = [], []
        for distance in range(1, reach + 1):
            one, other = row[:-distance], row[distance:]
            kept = (user[:-distance] == user[distance:]) & (one != other)
            block.append(np.minimum(one, other)[kept] * histories.num_items + np.maximum(one, other)[kept])
            gaps.append(np.full(int(kept.sum()), 1 / distance))
        code, weight = _summed(np.concatenate(block), np.concatenate(gaps))
        codes.append(code)
        weights.append(weight)
    return _summed(np.concatenate(codes), np.concatenate(weights))


def _summed(codes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distinct, place = np.unique(codes, return_inverse=True)
    return distinct, np.bincount(place, weights=weights, minlength=len(distinct))


def _links(code: np.ndarray, weight: np.ndarray, num_items: int) -> Links:
    """Links in both directions."""
    one, other = code // num_items, code % num_items
    row, linked = np.concatenate([one, other]), np.concatenate([other, one])
    order = np.lexsort((linked, row))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=num_items))])
    return Links(offsets, linked[order], np.concatenate([weight, weight])[order].astype(np.float32))
