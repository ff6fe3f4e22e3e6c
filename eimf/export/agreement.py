"""Whether a label agrees with what it names, judged by texts, and from which cosine on it can be trusted.

Agreement of a label with an item: the share of the other labels whose text is farther from the item's text. A label
that has nothing to do with the item agrees to 1/2 on average, the label with the nearest text to 1.

Shapes: L labels, n items or pairs, S text width.
"""

import math

import numpy as np

NEVER = 2.0
"""A threshold that no cosine reaches."""
_BLOCKS = 50
"""Pairs are averaged in so many blocks before a threshold is read from them."""
_SMALLEST_BLOCK = 20


def agreement(text_cosine: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The agreement of one label for each item, `label` [n] (or several, [n, r]), from the cosines of the item's text
    and the texts of all labels, [n, L]: the shape of `label`. A tie counts half; 1/2 if there is only one label."""
    count = text_cosine.shape[1]
    if count < 2:
        return np.full(label.shape, 0.5)
    column = label.reshape(len(label), -1)
    of_label = np.take_along_axis(text_cosine, column, axis=1)[:, None, :]  # [n, 1, r]
    farther = (text_cosine[:, :, None] < of_label).sum(axis=1)
    ties = (text_cosine[:, :, None] == of_label).sum(axis=1) - 1  # without the label itself
    shares: np.ndarray = (farther + ties / 2) / (count - 1)
    return shares.reshape(label.shape)


def agreeing(text_cosine: np.ndarray, level: float) -> np.ndarray:
    """Which labels agree with each item to `level` or more, [n, L] bool."""
    count = text_cosine.shape[1]
    if count < 2:
        return np.zeros(text_cosine.shape, bool)
    kth = math.ceil(level * (count - 1) - 1e-9)
    least: np.ndarray = np.partition(text_cosine, kth, axis=1)[:, kth, None]
    return text_cosine >= least


def threshold(cosine: np.ndarray, agreements: np.ndarray, level: float) -> float:
    """The least cosine from which pairs agree to `level` in expectation; NEVER if none do.

    The expectation is the nondecreasing function of the cosine that fits the pairs best (isotonic regression over
    blocks of pairs with similar cosines, so that a few pairs do not decide).
    """
    if not len(cosine):
        return NEVER
    order = cosine.argsort(kind="stable")
    blocks = np.array_split(order, max(1, min(_BLOCKS, len(order) // _SMALLEST_BLOCK)))
    expected = isotonic(
        np.array([agreements[rows].mean() for rows in blocks]), np.array([len(rows) for rows in blocks])
    )
    reached = np.flatnonzero(expected >= level)
    return float(cosine[blocks[reached[0]][0]]) if len(reached) else NEVER


def isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The nondecreasing sequence nearest to `values` [n] by weighted squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many values
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] >= pool[0]:
            mean, size, count = pools.pop()
            total = size + pool[1]
            pool = ((mean * size + pool[0] * pool[1]) / total, total, count + pool[2])
        pools.append(pool)
    return np.repeat([mean for mean, _, _ in pools], [count for _, _, count in pools])


def most_different(true: np.ndarray, chance: np.ndarray) -> float:
    """The point above which `true` values have the largest lead over those of `chance`: there the two are equally
    frequent. Infinity if the lead is no larger than chance makes it (Kolmogorov and Smirnov, one-sided, 5 %)."""
    points = np.sort(true)
    true_above = 1 - np.searchsorted(points, points, side="left") / len(points)
    chance_above = 1 - np.searchsorted(np.sort(chance), points, side="left") / len(chance)
    lead = true_above - chance_above
    return float(points[lead.argmax()]) if lead.max() > math.sqrt(math.log(1 / 0.05) / 2 / len(points)) else math.inf
