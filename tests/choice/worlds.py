"""Small worlds for the conditional logit: people with histories, and items that they choose by a known rule."""

import numpy as np

from eimf import schema
from eimf.choice.cases import Choices, read_choices
from eimf.data.eval_cases import EvalCases
from eimf.data.histories import Histories


def histories_with(next_items: np.ndarray, *, length: int = 6, num_items: int = 40, seed: int = 0) -> Histories:
    """People with `length` random training events each, and one validation item, `next_items` [U] (from 1)."""
    rng = np.random.default_rng(seed)
    users = len(next_items)
    item_idx = rng.integers(1, num_items, (users, length + 1), endpoint=True).astype(np.int32)
    item_idx[:, -1] = next_items
    offsets = np.arange(users + 1) * (length + 1)
    cases = EvalCases(np.arange(users), np.full(users, length), np.arange(users + 1), next_items.astype(np.int64))
    return Histories(item_idx.ravel(), offsets, np.full(users, length), num_items, cases={schema.VALID: cases})


def choices_of(histories: Histories, *, keep_seen: bool = True, max_scores: int = 1 << 26) -> Choices:
    return read_choices(histories, schema.VALID, max_length=50, keep_seen=keep_seen, max_scores=max_scores)


def chosen_by(scores: np.ndarray, seed: int = 0) -> np.ndarray:
    """The item_idx that each person chooses by the probabilities softmax(scores [U, N]), [U]."""
    noise = np.random.default_rng(seed).gumbel(size=scores.shape)
    return (scores + noise).argmax(axis=1) + 1
