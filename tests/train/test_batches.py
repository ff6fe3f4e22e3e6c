import numpy as np
import pyarrow as pa
import pytest
import torch

from eimf import schema
from eimf.data.histories import Histories, read_histories
from eimf.errors import DataError
from eimf.evaluation.eval_batches import eval_batches
from eimf.train.batches import Batches, cut_windows
from tests import world as planted


def histories(trained: list[int]) -> Histories:
    """Users whose flat events are 1, 2, 3, ...: an item tells its place."""
    lengths = np.array(trained) + 2
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Histories(np.arange(1, offsets[-1] + 1), offsets, np.array(trained), int(offsets[-1]))


@pytest.mark.parametrize(
    ("items", "offsets", "trained", "problem"),
    [
        ([1] * 12, [0, 6, 12], [6, 0], "user 0 has 6 events, 6 of them for training; each user needs"),
        ([1] * 8, [0, 6, 8], [4, 0], "user 1 has 2 events, 0 of them for training"),
        ([1] * 12, [0, 6, 11], [4, 3], "offsets of 2 users do not span the 12 events"),
        ([1] * 12, [0, 6], [4, 4], "offsets of 2 users do not span"),
        ([1, 2, 4], [0, 3], [1], "items are not 1 to 3"),
        ([0, 1, 2], [0, 3], [1], "items are not 1 to 3"),
    ],
)
def test_histories_that_are_split_otherwise_are_refused(items, offsets, trained, problem):
    with pytest.raises(DataError, match=f"histories: {problem}"):
        Histories(np.array(items), np.array(offsets), np.array(trained), 3)


@pytest.mark.parametrize(
    ("users", "split", "problem"),
    [
        ([0, 0, 0], [0, 2, 1], "the last two events of a user"),
        ([0, 0, 0, 0], [0, 1, 0, 2], "the last two events of a user"),
        ([0, 0, 0, 2, 2, 2], [0, 1, 2] * 2, "user 1 has 0 events"),
        ([0, 0, 1, 0, 1, 1], [0, 1, 0, 2, 1, 2], "events are not those of users 0, 1, ... in turn"),
        ([], [], "events are not those of users 0"),
    ],
)
def test_events_that_are_split_otherwise_are_refused(users, split, problem):
    events = {"user_idx": users, "item_idx": [1] * len(users), "position": [0] * len(users), "split": split}
    table = pa.table(events | {"timestamp": [None] * len(users)}).select(schema.EVENTS.names).cast(schema.EVENTS)
    with pytest.raises(DataError, match=f"histories: {problem}"):
        read_histories(table)


@pytest.mark.parametrize("context", [0, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_every_training_event_but_the_first_is_a_target_exactly_once(context, seed):
    data = histories([1, 2, 5, 6, 7, 23, 50])
    rng = np.random.default_rng(seed)
    windows = cut_windows(data, 5, context, rng)
    targets = []
    for batch in Batches(data, windows, 7, rng):
        assert batch.items.shape[1] <= 5
        assert batch.items.numel() <= 7 or len(batch.items) == 1
        inputs = batch.items.flatten()[batch.place]
        assert torch.equal(batch.target_row + 1, inputs + 1)  # the next event
        assert torch.equal(batch.target_row, torch.from_numpy(data.offsets)[batch.user] + batch.position)
        targets += (batch.target_row + 1).tolist()
    wanted = [data.offsets[user] + place + 1 for user, count in enumerate(data.num_train) for place in range(1, count)]
    assert sorted(targets) == wanted
    assert windows.targets == len(wanted)


def test_a_cut_history_repeats_context_so_that_targets_have_a_past():
    data = histories([40])
    for seed in range(20):
        windows = cut_windows(data, 8, 3, np.random.default_rng(seed))
        assert windows.length.max() <= 8
        begin = windows.first + windows.context
        # Past of each window's first target: all events before it, or at least the context.
        assert all(past >= min(start + 1, 3) for past, start in zip(windows.context + 1, begin, strict=True))


def test_batches_are_seeded_and_change_with_the_epoch():
    data = histories([9] * 30)

    def order(seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        return [
            int(item) for batch in Batches(data, cut_windows(data, 8, 0, rng), 40, rng) for item in batch.target_row
        ]

    assert order(1) == order(1) != order(2)


def test_queries_hold_the_past_of_each_split_and_all_that_was_seen():
    data = histories([3, 12])
    for split, more in ((schema.VALID, 0), (schema.TEST, 1)):
        seen_users = []
        for query in eval_batches(data, split, max_length=4, block=1, positions=4):
            user = int(query.user)
            first, known = int(data.offsets[user]) + 1, int(data.num_train[user]) + more
            past = list(range(first, first + known))
            assert query.items[0, : int(query.lengths)].tolist() == past[-4:]
            assert query.seen_items.tolist() == past
            assert query.target.tolist() == [first + known]
            seen_users.append(user)
        assert sorted(seen_users) == [0, 1]


def test_reading_the_planted_world():
    data = read_histories(planted.prepared().events)
    assert (data.users, data.num_items) == (planted.USERS, len(planted.GROUPS) * planted.SIZE)
    assert (np.diff(data.offsets) == data.num_train + 2).all()
