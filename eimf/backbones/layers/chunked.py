"""A batch, plain at once and in chunks that need less memory."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from eimf.backbones.layers.compiled import not_compiled
from eimf.backbones.layers.plain import is_plain


def in_chunks(compute: Callable[..., Tensor], rows: int, batch: Tensor, *shared: object) -> Tensor:
    """Return `compute(batch, *shared)`, computed for at most `rows` rows of the batch at a time.

    `compute` must not draw random numbers: in chunks, it runs again in the backward pass.
    """
    if is_plain() or batch.shape[0] <= rows:
        return compute(batch, *shared)
    return _checkpointed(compute, rows, batch, *shared)


# As compiled code, a recomputed chunk trips over itself (torch 2.13, dynamic shapes).
@not_compiled
def _checkpointed(compute: Callable[..., Tensor], rows: int, batch: Tensor, *shared: object) -> Tensor:
    """Drop what a chunk holds and compute it again in the backward pass."""
    chunks = [
        checkpoint(compute, chunk, *shared, use_reentrant=False, preserve_rng_state=False)
        for chunk in batch.split(rows)
    ]
    return torch.cat(chunks)
