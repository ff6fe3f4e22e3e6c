import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf import vectors
from eimf.vectors import mean_unit_vectors, normalize

WIDTH = 4


def unit_vectors(count: int) -> np.ndarray:
    return normalize(np.random.default_rng(count).standard_normal((count, WIDTH)).astype(np.float32))


def test_rows_of_length_one_and_a_row_of_zeros():
    # 3, 4 has length 5.
    expected = np.array([[3 / 5, 4 / 5], [0, 0], [0, -1]], np.float32)
    np.testing.assert_array_equal(normalize(np.array([[3, 4], [0, 0], [0, -2]], np.float32)), expected)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_group_has_the_mean_direction_of_its_events(events):
    """In any order, with groups that have no event; by a loop over the groups."""
    items = unit_vectors(9)
    group = np.array([group for group, _ in events], np.int64)
    item_row = np.array([row for _, row in events], np.int64)
    means = mean_unit_vectors(items, item_row, group, 7)
    assert means.shape == (7, WIDTH) and means.dtype == np.float32
    for number in range(7):
        members = items[item_row[group == number]].astype(np.float64)
        mean = members.mean(axis=0) if len(members) else np.zeros(WIDTH)
        length = np.linalg.norm(mean)
        np.testing.assert_allclose(means[number], mean / length if length else mean, atol=1e-5)


@pytest.mark.parametrize("block_events", [1, 4, 10**6])
def test_neither_blocks_nor_other_groups_change_a_bit(monkeypatch, block_events):
    items = unit_vectors(9)
    counts = np.array([1, 7, 0, 2, 30, 1])
    group = np.repeat(np.arange(6), counts)
    item_row = np.random.default_rng(2).integers(0, 9, len(group))
    means = mean_unit_vectors(items, item_row, group, 6)
    monkeypatch.setattr(vectors, "_BLOCK_EVENTS", block_events)
    order = np.argsort(group % 2, kind="stable")  # groups 0, 2, 4, then 1, 3, 5: the order within each is kept
    np.testing.assert_array_equal(mean_unit_vectors(items, item_row[order], group[order], 6), means)
    np.testing.assert_array_equal(mean_unit_vectors(items, item_row[group == 4], group[group == 4], 6)[4], means[4])
