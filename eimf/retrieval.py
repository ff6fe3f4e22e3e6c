"""Exact full ranking: every user against every item, a block of users at a time.

Shapes: B users of a block, K interests, D width, N items. Scores are max over a user's interests (METHOD, serving).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = 2**26
"""Most scores held at a time."""


@dataclass(frozen=True)
class Seen:
    """Items each user of a block is not to be shown: flat item_idx [E], and each one's row in the block [E]."""

    rows: Tensor
    items: Tensor


def users_at_a_time(most: int, items: int) -> int:
    """Users of one block: at most `most`, and so few that memory stays flat as the catalogue grows."""
    return max(16, min(most, _BLOCK // items))


def scores(interests: Tensor, item_vectors: Tensor, seen: Seen | None) -> Tensor:
    """Interests [B, K, D] and item vectors [N, D] to scores [B, N], -inf where seen; column j is item j + 1."""
    best = interests[:, 0] @ item_vectors.T
    for k in range(1, interests.shape[1]):
        best = torch.maximum(best, interests[:, k] @ item_vectors.T)
    if seen is not None:
        best[seen.rows, seen.items - 1] = -torch.inf
    return best


def target_ranks(block: Tensor, target: Tensor) -> Tensor:
    """1-based rank [B] of each user's target (item_idx [B]) among block [B, N].

    Ties count against the target, so a model that scores everything alike gets no credit.
    """
    own = block.gather(1, (target - 1).unsqueeze(1))
    # Items below rather than above, so that a score that is no number ranks last. Counted as floats, of which a sum is
    # exact up to 2^24 items: many times as fast as a sum of booleans on a CPU.
    below = torch.lt(block, own, out=torch.empty_like(block)).sum(dim=1)
    return block.shape[1] - below.long()
