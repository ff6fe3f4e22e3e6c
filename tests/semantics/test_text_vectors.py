"""The mean text of users in the trainer, against stage one's."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from eimf.semantics.text_vectors import mean_text_vectors
from eimf.vectors import mean_unit_vectors


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(0, 2**31))
def test_stage_one_and_the_trainer_have_the_same_mean_text(lengths, seed):
    rng = np.random.default_rng(seed)
    text = rng.standard_normal((6, 4)).astype(np.float32)
    user = np.repeat(np.arange(len(lengths)), lengths)
    item_idx = rng.integers(1, 7, len(user))
    ours = mean_text_vectors(torch.from_numpy(text), item_idx, user, len(lengths) + 1)
    theirs = mean_unit_vectors(text, item_idx - 1, user, len(lengths) + 1)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-5)
    assert not ours[-1].any()  # a user without events
