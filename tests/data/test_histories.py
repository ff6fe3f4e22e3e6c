"""The dataset artifact as arrays: what is refused, and what is read from them."""

import tracemalloc
from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf import schema
from eimf.data.eval_cases import EvalCases, eval_cases_table
from eimf.data.histories import Histories, read_histories
from eimf.errors import DataError
from tests import world as planted
from tests.strategies import any_histories

NO_CASES = pa.table([[]] * len(schema.EVAL_CASES), schema=schema.EVAL_CASES)


@pytest.mark.parametrize(
    ("item_idx", "offsets", "num_train", "problem"),
    [
        ([1] * 12, [0, 6, 12], [7, 0], "user 0 has 6 events, 7 of them for training"),
        ([1] * 8, [0, 6, 8], [4, -1], "user 1 has 2 events, -1 of them for training"),
        ([1] * 12, [0, 6, 11], [4, 3], "offsets of 2 users do not span the 12 events"),
        ([1] * 12, [0, 6], [4, 4], "offsets of 2 users do not span"),
        ([1, 2, 4], [0, 3], [1], "the items are not 1 to 3"),
        ([0, 1, 2], [0, 3], [1], "the items are not 1 to 3"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(item_idx, offsets, num_train, problem):
    with pytest.raises(DataError, match=f"histories: {problem}"):
        Histories(np.array(item_idx), np.array(offsets), np.array(num_train), 3)


@pytest.mark.parametrize(
    ("user_idx", "history_end", "item_idx", "problem"),
    [
        (2, 1, 1, "the users are not 0 to 1, or the items not 1 to 3"),
        (0, 1, 4, "the users are not 0 to 1, or the items not 1 to 3"),
        (0, 4, 1, "a history is longer than the events of its user"),
        (0, 1, 1, "a training event comes after the history of its user's case"),
    ],
)
def test_cases_that_do_not_fit_the_events_are_refused(user_idx, history_end, item_idx, problem):
    cases = EvalCases(np.array([user_idx]), np.array([history_end]), np.array([0, 1]), np.array([item_idx]))
    with pytest.raises(DataError, match=f"eval_cases: {problem}"):
        Histories(np.array([1, 2, 3, 1]), np.array([0, 3, 4]), np.array([2, 0]), 3, cases={schema.TEST: cases})


def users(num_events: list[int], num_train: list[int]) -> pa.Table:
    count = len(num_events)
    ids = [f"u{number}" for number in range(count)]
    return pa.table([range(count), ids, num_events, num_train], schema=schema.USER_IDS)


@pytest.mark.parametrize(
    ("num_events", "num_train", "problem"),
    [
        ([2, 2], [1, 1], "offsets of 2 users do not span the 3 events"),
        ([4, -1], [1, 1], "user 1 has -1 events"),
        ([2, 1], [1, 2], "user 1 has 1 events, 2 of them for training"),
        ([], [], "offsets of 0 users do not span the 3 events"),
    ],
)
def test_users_that_do_not_fit_the_events_are_refused(num_events, num_train, problem):
    with pytest.raises(DataError, match=f"histories: {problem}"):
        read_histories(np.array([1, 2, 3], np.int32), users(num_events, num_train), NO_CASES, num_items=3)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_timestamp_that_is_no_time_is_refused(wrong):
    arrays = np.array([1, 2, 3], np.int32), users([3], [1]), NO_CASES
    with pytest.raises(DataError, match="histories: a timestamp is not a finite number"):
        read_histories(*arrays, num_items=3, timestamps=np.array([1.0, 2.0, wrong]))


def test_no_event_at_all_is_refused():
    with pytest.raises(DataError, match="histories: there is no event"):
        read_histories(np.array([], np.int32), users([0], [0]), NO_CASES, num_items=3)


def test_users_and_items_without_events_are_counted():
    table = users([0, 2, 0, 1, 0], [0, 2, 0, 0, 0])
    data = read_histories(np.ones(3, np.int32), table, NO_CASES, num_items=4)
    assert (data.num_users, data.num_items) == (5, 4)
    assert data.offsets.tolist() == [0, 0, 2, 2, 3, 3] and data.num_train.tolist() == [0, 2, 0, 0, 0]
    assert data.frequency().tolist() == [2, 0, 0, 0]


def test_reading_the_planted_world():
    data = planted.histories()
    assert (data.num_users, data.num_items) == (planted.USERS, len(planted.GROUPS) * planted.SIZE)
    assert (np.diff(data.offsets) == data.num_train + 2).all()
    assert all(len(data.cases[split]) == planted.USERS for split in (schema.VALID, schema.TEST))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(1, 4), max_size=6), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_slices_of_the_flat_arrays_are_the_lists_of_each_user(lists, random):
    """Training events, the first events of some users, and whether a relevant item is in its case's history."""
    item_idx = np.array([item for user in lists for item in user], dtype=np.int64)
    if not len(item_idx):
        return
    offsets = np.concatenate([[0], np.cumsum([len(user) for user in lists])])
    num_train = np.array([random.randint(0, len(user)) for user in lists])
    with_case = [user for user, history in enumerate(lists) if history]
    ends = [random.randint(max(1, int(num_train[user])), len(lists[user])) for user in with_case]
    relevant = [random.sample(range(1, 5), random.randint(1, 3)) for _ in with_case]
    cases = EvalCases(
        np.array(with_case),
        np.array(ends),
        np.concatenate([[0], np.cumsum([len(items) for items in relevant])]),
        np.array([item for items in relevant for item in items]),
    )
    data = Histories(item_idx, offsets, num_train, 4, cases={schema.TEST: cases})
    train = data.training()
    assert [
        train.item_idx[begin:end].tolist() for begin, end in zip(train.offsets, train.offsets[1:], strict=False)
    ] == [user[:count] for user, count in zip(lists, num_train, strict=True)]
    assert data.training_targets == sum(max(count - 1, 0) for count in num_train)
    assert data.repeated(cases).tolist() == [
        item in lists[user][:end] for user, end, items in zip(with_case, ends, relevant, strict=True) for item in items
    ]


@settings(max_examples=40, deadline=None)
@given(any_histories())
def test_the_tables_of_a_dataset_are_read_back_as_they_were(data):
    count = len(data.item_idx)
    table = users(np.diff(data.offsets).tolist(), data.num_train.tolist())
    arrays = {"num_items": data.num_items, "timestamps": np.arange(count, dtype=float)}
    read = read_histories(data.item_idx.astype(np.int32), table, eval_cases_table(data.cases), **arrays)
    for name in ("item_idx", "offsets", "num_train"):
        assert getattr(read, name).tolist() == getattr(data, name).tolist()
    assert read.timestamps.tolist() == list(range(count))
    lists = [data.item_idx[begin:end].tolist() for begin, end in pairwise(data.offsets)]
    training = [items[:-2] for items in lists]
    assert read.frequency().tolist() == [sum(row.count(n) for row in training) for n in range(1, read.num_items + 1)]
    for size in (1, 7, 1 << 20):
        blocks = list(read.training_blocks(size))
        assert list(chain(*(users for users, _, _ in blocks))) == list(range(read.num_users))
        owner = [users.start + row for users, rows, _ in blocks for row in rows.tolist()]
        assert owner == [user for user, row in enumerate(training) for _ in row]
        assert [read.item_idx[event].tolist() for _, _, event in blocks] == [
            list(chain(*(training[user] for user in users))) for users, _, _ in blocks
        ]
        assert all(len(event) <= size or len(users) == 1 for users, _, event in blocks)
    for split, held_out in ((schema.VALID, 2), (schema.TEST, 1)):
        cases = read.cases[split]
        assert cases.item_idx.tolist() == [items[-held_out] for items in lists]
        assert cases.history_end.tolist() == [len(items) - held_out for items in lists]
        assert read.repeated(cases).tolist() == [items[-held_out] in items[:-held_out] for items in lists]


def test_no_temporary_array_is_as_long_as_the_events():
    length, num_users = 100, 40_000
    item_idx = np.resize(np.arange(1, 8, dtype=np.int32), length * num_users)
    data = planted.leave_one_out(item_idx, np.arange(num_users + 1) * length, 7)
    ways = {
        "checks": lambda: replace(data),
        "blocks": lambda: sum(len(event) for _, _, event in data.training_blocks()),
        "frequency": data.frequency,
        "repeated": lambda: data.repeated(data.cases[schema.TEST]),
        "training": data.training,
    }
    for name, way in ways.items():
        tracemalloc.start()
        result = way()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        own = result.item_idx.nbytes if name == "training" else 0
        assert peak - own < 0.5 * 8 * len(item_idx), name  # half of one int64 array
