"""What a user is about, before any LLM: the mean text vector of the training history (METHOD, stage one, 2)."""

import numpy as np

from eimf.esim.encode import normalise

_BLOCK_EVENTS = 1 << 11  # their vectors fit into the cache, which makes it four times as fast


def user_vectors(item_idx: np.ndarray, offsets: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
    """L2-normalised means [U, S] float32.

    `item_idx` [E] is the training events of all users, user by user, `offsets` [U + 1] where each user begins, and
    `item_vectors` [N, S] the vectors of items 1..N (row 0 is item 1). Every user must have an event. Works through
    blocks of users, so that memory does not grow with the events.
    """
    users = len(offsets) - 1
    means = np.empty((users, item_vectors.shape[1]), np.float32)
    begin = 0
    while begin < users:
        end = int(np.searchsorted(offsets, offsets[begin] + _BLOCK_EVENTS, side="right")) - 1
        end = min(max(end, begin + 1), users)
        rows = item_vectors[item_idx[offsets[begin] : offsets[end]] - 1]
        starts = offsets[begin:end] - offsets[begin]
        counts = np.diff(offsets[begin : end + 1])[:, None]
        means[begin:end] = normalise(np.add.reduceat(rows, starts, axis=0) / counts)
        begin = end
    return means
