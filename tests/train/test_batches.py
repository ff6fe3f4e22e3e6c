"""Windows and batches of training histories."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.data.histories import Histories
from eimf.train.batches import Batches, cut_windows
from tests.strategies import any_histories


def histories(num_train: list[int], held_out: int = 2) -> Histories:
    """Users whose flat events are the items 1, 2, 3, ...: an item tells its place."""
    lengths = np.array(num_train) + held_out
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Histories(np.arange(1, offsets[-1] + 1), offsets, np.array(num_train), int(offsets[-1]))


@settings(max_examples=40)
@given(any_histories(), st.data())
def test_every_training_event_but_the_first_is_a_target_exactly_once(data, drawn):
    max_length = drawn.draw(st.integers(1, 12))
    overlap = drawn.draw(st.integers(0, max_length - 1))
    positions, size = drawn.draw(st.integers(1, 40)), drawn.draw(st.integers(1, 3))
    seed = drawn.draw(st.integers(0, 9))
    targets = []
    for rank in range(size):  # the processes draw the same windows, and share each batch
        rng = np.random.default_rng(seed)
        windows = cut_windows(data, max_length, overlap, rng)
        for batch in Batches(data, windows, positions, rng, rank, size):
            event, user = batch.event_index.numpy(), batch.user_idx.numpy()
            assert batch.item_idx.shape[1] <= max_length and batch.counts[rank] == len(batch.target_row)
            assert batch.item_idx.numel() <= positions or len(batch.item_idx) <= 1
            assert batch.item_idx.flatten()[batch.slot].tolist() == data.item_idx[event - 1].tolist()
            assert batch.next_item_idx.flatten()[batch.slot].tolist() == data.item_idx[event].tolist()
            assert (batch.target_row + 1).tolist() == data.item_idx[event].tolist()  # rows count from 0
            assert (data.offsets[user] + batch.position.numpy() == event).all()
            assert torch.equal(batch.item_idx == 0, batch.next_item_idx == 0)  # padding
            targets += event.tolist()
    wanted = [begin + n for begin, count in zip(data.offsets, data.num_train, strict=False) for n in range(1, count)]
    assert sorted(targets) == wanted
    assert windows.targets == data.training_targets == len(wanted)
    # Every target sees all before it, or `overlap` events more than itself gives.
    first = data.offsets[windows.user_idx]
    assert (windows.overlap == np.minimum(overlap, windows.begin + windows.overlap - first)).all()
    assert (windows.length > windows.overlap).all()


def test_users_with_less_than_two_training_events_have_no_window():
    windows = cut_windows(histories([1, 3, 0, 1]), 5, 2, np.random.default_rng(0))
    assert windows.user_idx.tolist() == [1] and windows.targets == 2


def test_a_cut_history_repeats_events_so_that_targets_have_a_past():
    data = histories([40])
    for seed in range(20):
        windows = cut_windows(data, 8, 3, np.random.default_rng(seed))
        assert windows.length.max() <= 8
        first_target = windows.begin + windows.overlap
        # Past of each window's first target: all events before it, or at least the overlap.
        assert all(past >= min(start + 1, 3) for past, start in zip(windows.overlap + 1, first_target, strict=True))


def test_batches_are_seeded_and_change_with_the_epoch():
    data = histories([9] * 30)

    def order(seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        batches = Batches(data, cut_windows(data, 8, 0, rng), 40, rng)
        return [int(row) for batch in batches for row in batch.target_row]

    assert order(1) == order(1) != order(2)


def test_a_long_history_is_cut_elsewhere_in_each_epoch():
    data = histories([40])
    begins = [cut_windows(data, 8, 3, np.random.default_rng(seed)).begin[1] for seed in range(60)]
    # The first window ends 1 to 8 - 3 = 5 events on; the second begins 3 before that, or with the history.
    assert set(begins) == {0, 1, 2}


def test_who_shares_a_batch_and_which_batch_comes_first_is_drawn():
    def batches(num_train: list[int], seed: int) -> list[list[int]]:
        data, rng = histories(num_train), np.random.default_rng(seed)
        windows = cut_windows(data, 40, 0, rng)
        return [sorted(batch.user_idx.unique().tolist()) for batch in Batches(data, windows, 80, rng)]

    # Equal lengths: other users come together. Different lengths: the same do, in another order.
    assert sorted(batches([9] * 30, 1)) != sorted(batches([9] * 30, 2))
    first, second = (batches(list(range(3, 40, 2)), seed) for seed in range(2))
    assert sorted(first) == sorted(second) and first != second
    assert first != sorted(first) and first != sorted(first, reverse=True)


def test_times_are_those_of_the_inputs_and_0_at_the_padding():
    data = histories([3, 5])
    timed = Histories(data.item_idx, data.offsets, data.num_train, data.num_items, data.item_idx * 10.0)
    rng = np.random.default_rng(0)
    for batch in Batches(timed, cut_windows(timed, 8, 0, rng), 100, rng):
        assert torch.equal(batch.times, batch.item_idx * 10.0)


def test_processes_share_each_batch():
    data = histories([4, 9, 2, 7, 3])
    windows = cut_windows(data, 8, 0, np.random.default_rng(0))
    whole, *parts = (
        Batches(data, windows, 1000, np.random.default_rng(1), rank, size)[0] for rank, size in ((0, 1), (0, 2), (1, 2))
    )
    assert [part.counts for part in parts] == [[len(part.target_row) for part in parts]] * 2
    assert sorted(torch.cat([part.target_row for part in parts]).tolist()) == sorted(whole.target_row.tolist())
    assert parts[0].targets == parts[1].targets == whole.targets
