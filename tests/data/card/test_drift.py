"""Which items are the most frequent, if some are tied."""

import numpy as np
import pytest

from eimf.data.card.drift import top_weights


@pytest.mark.parametrize(
    ("counts", "places", "weights"),
    [
        ([0, 5, 3, 1], 2, [0, 1, 1, 0]),
        ([0, 5, 3, 3, 3, 1], 2, [0, 1, 1 / 3, 1 / 3, 1 / 3, 0]),
        ([0, 2, 2, 2], 2, [0, 2 / 3, 2 / 3, 2 / 3]),
        ([0, 4, 0, 0], 2, [0, 1, 0, 0]),
        ([0, 4], 10, [0, 1]),
        ([0, 1, 1], 10, [0, 1, 1]),
        ([0, 0], 1, [0, 0]),
    ],
)
def test_tied_items_share_the_last_places(counts, places, weights):
    assert top_weights(np.array(counts), places) == pytest.approx(weights)


def test_the_weights_do_not_depend_on_the_numbers_of_the_items():
    counts = np.random.default_rng(0).integers(0, 4, 50)
    order = np.random.default_rng(1).permutation(50)
    assert np.array_equal(top_weights(counts, 7)[order], top_weights(counts[order], 7))
    assert top_weights(counts, 7).sum() == pytest.approx(7)
