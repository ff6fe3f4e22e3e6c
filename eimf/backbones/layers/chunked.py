"""A batch in parts, where all of it at once would hold too much."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


# As compiled code, a recomputed part trips over itself (torch 2.13, dynamic shapes).
@torch.compiler.disable
def in_parts(make: Callable[..., Tensor], rows: int, batch: Tensor, *shared: object) -> Tensor:
    """`make(batch, *shared)`, `rows` of the batch at a time. What a part holds is dropped and made again on the way
    back, so `make` must not draw random numbers."""
    parts = [
        checkpoint(make, part, *shared, use_reentrant=False, preserve_rng_state=False) for part in batch.split(rows)
    ]
    return torch.cat(parts)
