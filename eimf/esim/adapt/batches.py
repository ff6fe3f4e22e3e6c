"""Batches of connected items: every item is an anchor once an epoch, and brings a partner.

Shapes: B items of a batch.
"""

from collections.abc import Iterator

import numpy as np

from eimf.esim.adapt.pairs import TrainingPairs


def num_batches(pairs: TrainingPairs, batch_items: int) -> int:
    """Batches of an epoch."""
    return -(-len(pairs.anchors) // (batch_items // 2))


def batches(pairs: TrainingPairs, batch_items: int, seed: int, epoch: int, skip: int = 0) -> Iterator[np.ndarray]:
    """The batches of an epoch after the first `skip`: rows of different items [B], ascending. Half of `batch_items`
    are anchors, the others their partners, drawn by weight; what was drawn twice is in it once."""
    half = batch_items // 2
    anchors = np.random.default_rng((seed, epoch)).permutation(pairs.anchors)
    for number in range(skip, num_batches(pairs, batch_items)):
        chosen = anchors[number * half : (number + 1) * half]
        partners = pairs.pairs.draw(chosen, np.random.default_rng((seed, epoch, number)))
        yield np.unique(np.concatenate([chosen, partners]))
