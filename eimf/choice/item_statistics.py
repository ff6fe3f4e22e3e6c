"""How popular, recent and late each item is: numbers of training events that need no user.

Shapes: N items.
"""

import numpy as np

from eimf.data.histories import Histories


def item_scores(histories: Histories) -> np.ndarray:
    """How recent, popular and late each item is, [N, 3] float32: log share of users whose last training event it is,
    log share of training events, and its mean place in the training histories (first 0, last 1), each smoothed."""
    recent, popularity, late = sums = np.zeros((3, histories.num_items))
    for users, user_row, event in histories.training_blocks():
        user_idx = users.start + user_row
        length, before = histories.num_train[user_idx], event - histories.offsets[user_idx]
        row = histories.item_idx[event] - 1
        for total, weights in zip(
            sums, (before == length - 1, np.ones(len(row)), (before + 0.5) / length), strict=True
        ):
            total += np.bincount(row, weights=weights, minlength=len(total))
    shares = [np.log((count + 0.5) / (count + 0.5).sum()) for count in (recent, popularity)]
    return np.stack([*shares, (late + 1) / (popularity + 2)], axis=1).astype(np.float32)
