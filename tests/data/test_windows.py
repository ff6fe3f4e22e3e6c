from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.data.windows import flat_ranges, pad_windows, row_blocks, window_index

RANGES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 10)), max_size=8)


@settings(max_examples=60, deadline=None)
@given(RANGES, st.integers(1, 12))
def test_a_window_is_the_last_entries_in_order_then_padding(ranges, max_length):
    values = np.arange(100, 140)
    begin, count = (np.array([pair[part] for pair in ranges], dtype=np.int64) for part in (0, 1))
    rows = pad_windows(values, window_index(begin, begin + count, max_length))
    assert rows.dtype == values.dtype
    wanted = [values[b : b + n].tolist()[-max_length:] for b, n in ranges]
    width = max([1, *map(len, wanted)])
    assert rows.tolist() == [row + [0] * (width - len(row)) for row in wanted]


@settings(max_examples=60, deadline=None)
@given(RANGES)
def test_flat_ranges_are_the_ranges_one_after_the_other(ranges):
    begin, count = (np.array([pair[part] for pair in ranges], dtype=np.int64) for part in (0, 1))
    row, index = flat_ranges(begin, count)
    assert list(zip(row, index, strict=True)) == [(r, b + i) for r, (b, n) in enumerate(ranges) for i in range(n)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 20))
def test_blocks_hold_all_rows_in_order_and_are_as_large_as_they_may_be(counts, size):
    blocks = [counts[block] for block in row_blocks(np.array(counts, dtype=np.int64), size)]
    assert [count for block in blocks for count in block] == counts
    assert all(sum(block) <= size or len(block) == 1 for block in blocks)
    assert all(sum(block) + after[0] > size for block, after in pairwise(blocks))
