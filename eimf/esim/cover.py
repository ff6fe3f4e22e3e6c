"""Users who together had the most, chosen greedily.

The greedy choice of k sets covers at least 1 - 1/e of what the best k sets cover (Nemhauser, Wolsey and Fisher 1978).
Here each cluster gives as many as its share, a matroid, and the bound is 1/2 (Fisher, Nemhauser and Wolsey 1978).

Shapes: n candidates, N items.
"""

import numpy as np

from eimf.data.windows import flat_ranges

_CLOSED = -(1 << 62)
"""Gain of a candidate who is chosen, or whose cluster is complete."""


def greedy_cover(
    cluster: np.ndarray, candidate: np.ndarray, item_row: np.ndarray, worth: np.ndarray, per_cluster: int
) -> np.ndarray:
    """The places of the candidates that are chosen, in this order, until each cluster has `per_cluster` of them, or all
    of its candidates. The next one is always who has the most that no one before had, ties to the lower place.

    `cluster` [n] is that of each candidate, `candidate` and `item_row` are flat, what each candidate had, each item
    once; `worth` [N] int64 is what an item counts. Every pair is looked at twice, whatever the number of choices: the
    gains are kept exact, instead of being computed again.
    """
    by_candidate = _Grouped(candidate, item_row, len(cluster))
    by_item = _Grouped(item_row, candidate, len(worth))
    of_cluster = _Grouped(cluster, np.arange(len(cluster)), int(cluster.max(initial=-1)) + 1)
    gain = np.bincount(candidate, weights=worth[item_row], minlength=len(cluster)).astype(np.int64)
    left = np.minimum(np.diff(of_cluster.offsets), per_cluster)
    is_covered, chosen = np.zeros(len(worth), bool), []
    for _ in range(int(left.sum())):
        best = int(gain.argmax())
        chosen.append(best)
        gain[best] = _CLOSED
        left[cluster[best]] -= 1
        if not left[cluster[best]]:
            gain[of_cluster.of(np.array([cluster[best]]))[1]] = _CLOSED
        items = by_candidate.of(np.array([best]))[1]
        items = items[~is_covered[items]]
        is_covered[items] = True
        of_item, losers = by_item.of(items)
        np.subtract.at(gain, losers, worth[items[of_item]])
    return np.array(chosen, np.int64)


class _Grouped:
    """`values` by their `group`, of which there are `count`."""

    def __init__(self, group: np.ndarray, values: np.ndarray, count: int) -> None:
        self._values = values[np.argsort(group, kind="stable")]
        self.offsets = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=count))])

    def of(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The values of some groups, flat: the place in `groups` of each, and the value."""
        row, place = flat_ranges(self.offsets[groups], self.offsets[groups + 1] - self.offsets[groups])
        return row, self._values[place]
