"""Mean text vectors in the trainer: of users, for soft labels and the signal check, and of what an LLM was shown.

Stage one has a form of this mean for numpy (`eimf.vectors`): the same up to the rounding of the norm.

Shapes: N items, E events, U users, G groups, S text width.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.data.histories import Histories

_BLOCK_EVENTS = 2**16


def user_text_blocks(item_text_vectors: Tensor, histories: Histories) -> Iterator[tuple[range, Tensor]]:
    """Mean text [., S] of the training items of some users after others, as unit vectors, and who they are."""
    for users, row, event in histories.training_blocks():
        yield users, mean_text_vectors(item_text_vectors, histories.item_idx[event], row, len(users))


def mean_text_vectors(item_text_vectors: Tensor, item_idx: np.ndarray, group: np.ndarray, num_groups: int) -> Tensor:
    """Mean text of the events `item_idx` [E] of each `group` [E], as unit vectors [G, S]; 0 for a group without
    events."""
    total = item_text_vectors.new_zeros(num_groups, item_text_vectors.shape[1])
    group_row = torch.from_numpy(group)
    for start in range(0, len(item_idx), _BLOCK_EVENTS):  # never the texts of all events at once
        block = slice(start, start + _BLOCK_EVENTS)
        total.index_add_(0, group_row[block], item_text_vectors[item_idx[block].astype(np.int64) - 1])
    return F.normalize(total, dim=1)
