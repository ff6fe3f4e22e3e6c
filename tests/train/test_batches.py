"""Windows and batches of training histories."""

import numpy as np
import pytest
import torch

from eimf.data.histories import Histories
from eimf.train.batches import Batches, cut_windows


def histories(num_train: list[int], held_out: int = 2) -> Histories:
    """Users whose flat events are the items 1, 2, 3, ...: an item tells its place."""
    lengths = np.array(num_train) + held_out
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Histories(np.arange(1, offsets[-1] + 1), offsets, np.array(num_train), int(offsets[-1]))


@pytest.mark.parametrize("overlap", [0, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_every_training_event_but_the_first_is_a_target_exactly_once(overlap, seed):
    data = histories([1, 2, 5, 0, 6, 7, 23, 50])
    rng = np.random.default_rng(seed)
    windows = cut_windows(data, 5, overlap, rng)
    target_rows = []
    for batch in Batches(data, windows, 7, rng):
        assert batch.item_idx.shape[1] <= 5
        assert batch.item_idx.numel() <= 7 or len(batch.item_idx) == 1
        inputs = batch.item_idx.flatten()[batch.slot]
        target_item_idx = inputs + 1  # the next event
        assert torch.equal(batch.next_item_idx.flatten()[batch.slot], target_item_idx)
        assert torch.equal(batch.target_row, target_item_idx - 1)  # rows count from 0
        assert torch.equal(batch.event_index, target_item_idx - 1)  # and so do the events, here
        assert torch.equal(batch.event_index, torch.from_numpy(data.offsets)[batch.user_idx] + batch.position)
        assert torch.equal(batch.item_idx == 0, batch.next_item_idx == 0)  # padding
        target_rows += batch.target_row.tolist()
    wanted = [data.offsets[user] + index for user, count in enumerate(data.num_train) for index in range(1, count)]
    assert sorted(target_rows) == wanted
    assert windows.targets == len(wanted)


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
