"""The use of interests: a model with known interests, whose figures are counted by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from eimf import schema
from eimf.backbones.base import Backbone
from eimf.evaluation.interest_use import InterestUse, interest_use
from tests.world import leave_one_out

TABLE = [[1.0, 0.0], [0.0, 3.0], [2.0, 0.0], [0.0, 1.0]]
"""Items 1 to 4."""


class Known(Backbone):
    """The same interests after every history."""

    def __init__(self, vectors: list[list[float]]) -> None:
        super().__init__(num_items=len(TABLE), width=2)
        self.vectors = torch.tensor(vectors, dtype=torch.float32)
        with torch.no_grad():
            self.item_table.weight[1:] = torch.tensor(TABLE)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        return self.vectors.expand(*items.shape, *self.vectors.shape)


def use_of(vectors: list[list[float]], *, keep_seen: bool = True, most: int = 10) -> InterestUse:
    """After the histories 2, 1 and 1, 1 of two users."""
    histories = leave_one_out(np.array([2, 1, 4, 1, 1, 4], np.int32), np.array([0, 3, 6]), len(TABLE))
    cases = histories.cases[schema.TEST]
    return interest_use(Known(vectors), histories, cases, max_length=5, keep_seen=keep_seen, most=most)


def test_interests_that_differ():
    use = use_of([[1, 0], [0, 1], [1, 0]])  # the last is a copy of the first
    assert (use.cases, use.several, use.different) == (2, 1, 2)
    assert use.cosine == pytest.approx((0 + 1 + 0) / 3)
    assert use.top_items == 2  # item 3 by the first and the last, item 2 by the second
    assert use.wins == (0, 1, 0) and use.used == 1  # item 2 has the highest score, 3


def test_items_of_the_history_give_no_first_item():
    use = use_of([[1, 0], [0, 1], [1, 0]], keep_seen=False)
    assert use.wins == (1 / 2, 1 / 2, 0)  # the first user had item 2, and gets item 3
    assert use.used == pytest.approx(2)


def test_a_collapsed_model_has_one_interest():
    use = use_of([[1, 0], [2, 0]])
    assert (use.several, use.different, use.top_items) == (0, 1, 1)
    assert use.cosine == pytest.approx(1) and use.wins == (0, 1)


def test_some_cases_are_enough_and_one_interest_has_no_use():
    assert use_of([[1, 0], [0, 1]], most=1).cases == 1
    with pytest.raises(ValueError, match="one interest"):
        use_of([[1, 0]])
