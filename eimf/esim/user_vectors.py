"""A vector for each user: the mean text vector of the items of the training events.

Shapes: U users, N items, S text width.
"""

import numpy as np

from eimf.data.histories import Histories
from eimf.scratch import IN_MEMORY, Scratch, let_go
from eimf.vectors import mean_unit_vectors


def user_vectors(histories: Histories, item_vectors: np.ndarray, scratch: Scratch = IN_MEMORY) -> np.ndarray:
    """Unit vectors [U, S] float32, held by `scratch`, from those of items 1..N [N, S]. Zeros for a user
    without training events."""
    vectors = scratch.zeros((histories.num_users, item_vectors.shape[1]), np.float32)
    for users, row, event_index in histories.training_blocks():
        means = mean_unit_vectors(item_vectors, histories.item_idx[event_index] - 1, row, len(users))
        vectors[users.start : users.stop] = means
        let_go(vectors)
    return vectors
