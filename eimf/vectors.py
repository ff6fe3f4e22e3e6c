"""Unit vectors, and their mean over the items of a user or a cluster: the arithmetic of stage one and of labels.

`eimf.semantics.text_vectors` has the form of the trainer, on torch tensors: the same up to the rounding of the norm.

Shapes: N items, E events, G groups, S width.
"""

import numpy as np

_BLOCK_EVENTS = 1 << 11  # their vectors fit into the cache, which makes it four times as fast


def unit(vectors: np.ndarray) -> np.ndarray:
    """`vectors` [..., S] scaled to length 1, in their own precision; zeros stay zeros."""
    scaled: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return scaled


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Scale the rows of `vectors` [n, S] to length 1, float32; a row of zeros stays as it is."""
    return unit(vectors).astype(np.float32)


def mean_unit_vectors(vectors: np.ndarray, item_row: np.ndarray, group: np.ndarray, num_groups: int) -> np.ndarray:
    """L2-normalised mean vector of each group's events [G, S] float32; zeros for a group without events.

    `vectors` [N, S] float32 are those of items 1..N, so `item_row` [E] (item_idx - 1) counts from 0; `group` [E] is
    the user or cluster of each event, 0 to `num_groups` - 1, in any order. Events of one group are summed in their
    given order, and groups in blocks, so memory does not grow with the events. The result does not depend on the other
    groups.
    """
    if (np.diff(group) < 0).any():
        order = np.argsort(group, kind="stable")
        item_row, group = item_row[order], group[order]
    counts = np.bincount(group, minlength=num_groups)
    present = np.flatnonzero(counts)
    ends = np.cumsum(counts[present])
    starts = ends - counts[present]
    means = np.zeros((num_groups, vectors.shape[1]), np.float32)
    first = 0
    while first < len(present):
        last = max(int(np.searchsorted(ends, starts[first] + _BLOCK_EVENTS, side="right")), first + 1)
        block, begin = slice(first, last), starts[first]
        sums = np.add.reduceat(vectors[item_row[begin : ends[last - 1]]], starts[block] - begin, axis=0)
        means[present[block]] = normalize(sums / counts[present[block], None])
        first = last
    return means
