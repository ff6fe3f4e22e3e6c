"""ComiRec's greedy choice, by one sort, against the greedy choice written out."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eimf.serving.diversity import diverse_order

SCORES = [16.0, 15.0, 12.0, 8.0, 4.0, 0.0]
CATEGORIES = [0, 0, 0, 1, 1, 2]


def greedy(scores: list[int], category: list[int], count: int, diversity: Fraction) -> list[int]:
    """Q(u, S) item by item, in fractions: the item that adds most is chosen, the better one of several."""
    spread = max(scores[0] - scores[-1], 1)
    chosen: list[int] = []
    while len(chosen) < min(count, len(scores)):
        left = [item for item in range(len(scores)) if item not in chosen]

        def gain(item: int) -> Fraction:
            others = sum(category[item] != category[other] for other in chosen)
            return (1 - diversity) * Fraction(scores[item], spread) + diversity * Fraction(others, count)

        chosen.append(max(left, key=lambda item: (gain(item), -item)))
    return chosen


@given(
    st.lists(st.tuples(st.integers(0, 64), st.integers(0, 3)), min_size=1, max_size=12),
    st.integers(1, 15),
    st.sampled_from([0, 1, 2, 3, 4]),
)
def test_one_sort_is_the_greedy_choice(items, count, quarters):
    # Powers of two, so that the sums of floats are exact: the best score exceeds the last one by 64, out of 16 items.
    items = [(128, 0), *sorted(items, reverse=True), (64, 0)] if quarters else sorted(items, reverse=True)
    items = [
        (64 + score // 2 if quarters and 0 < row < len(items) - 1 else score, kind)
        for row, (score, kind) in enumerate(items)
    ]
    items = sorted(items, key=lambda item: -item[0])
    scores, category = ([item[part] for item in items] for part in (0, 1))
    count = 1 << (count.bit_length() - 1)
    order = diverse_order(np.array(scores, np.float32), np.array(category), count, quarters / 4)
    assert order.tolist() == greedy(scores, category, count, Fraction(quarters, 4))


@pytest.mark.parametrize(
    ("diversity", "order"),
    [
        (0.0, [0, 1, 2, 3, 4, 5]),
        (1.0, [0, 3, 5, 1, 4, 2]),  # each category's best item, then each category's second
        # (16 - s) / 16 / 2 + p / 6 / 2, in 96ths: 0, 3 + 8, 12 + 16, 24, 36 + 8, 48
        (0.5, [0, 1, 3, 2, 4, 5]),
    ],
)
def test_by_hand(diversity, order):
    assert diverse_order(np.array(SCORES, np.float32), np.array(CATEGORIES), 6, diversity).tolist() == order


def test_nothing_left_and_scores_alike():
    assert diverse_order(np.zeros(0, np.float32), np.zeros(0, int), 3, 0.5).tolist() == []
    alike = np.full(4, 2.5, np.float32)
    assert diverse_order(alike, np.array([7, 7, -1, 7]), 4, 0.5).tolist() == [0, 2, 1, 3]
    huge = np.array([3e38, 0, -3e38], np.float32)
    assert diverse_order(huge, np.array([0, 0, 1]), 2, 0.5).tolist() == [0, 1]
