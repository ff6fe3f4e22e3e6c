"""Inputs that property tests draw."""

import numpy as np
from hypothesis import strategies as st

from eimf.data.histories import Histories
from tests.world import leave_one_out


@st.composite
def any_histories(draw: st.DrawFn, num_items: int = 9) -> Histories:
    """Users with 1 to 30 training events, then one to validate and one to test."""
    num_train = np.array(draw(st.lists(st.integers(1, 30), min_size=1, max_size=6)))
    offsets = np.concatenate([[0], np.cumsum(num_train + 2)])
    item_idx = np.random.default_rng(draw(st.integers(0, 99))).integers(1, num_items + 1, offsets[-1])
    return leave_one_out(item_idx, offsets, num_items)
