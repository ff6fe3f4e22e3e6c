"""HSTU's layer and time buckets against plain loops; what the times may and may not change."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from eimf import schema
from eimf.backbones.build import build_backbone
from eimf.backbones.hstu import HSTU, Layer, time_buckets
from eimf.config import ModelSettings, TrainSettings
from eimf.evaluation.rank_users import rank_users
from eimf.train.execution import Execution
from eimf.train.loop import Trainer
from tests import world as planted

ITEMS, WIDTH, LONGEST, HEADS = 30, 16, 12, 2
MINUTE, DAY, YEAR = 60.0, 86_400.0, 31_557_600.0


def built(time: bool, items: int = ITEMS, enlarged: bool = True) -> HSTU:
    settings = {"backbone": "hstu", "width": WIDTH, "max_length": LONGEST, "dropout": 0.0, "options": {"hstu": {}}}
    settings["options"]["hstu"] = {"time": time, "heads": HEADS}
    model = build_backbone(ModelSettings.model_validate(settings), items, seed=1)
    assert isinstance(model, HSTU)
    if enlarged:  # so that every part matters
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "norm" not in name:
                    parameter.mul_(10)
    return model.eval()


@pytest.fixture
def items() -> torch.Tensor:
    return torch.randint(1, ITEMS + 1, (4, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def times() -> torch.Tensor:
    """Seconds since 1970 of events from less than a second to years apart."""
    gaps = torch.rand(4, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 20
    return 1.7e9 + gaps.exp().cumsum(dim=1)


def bucket_of(seconds: float) -> int:
    return min(int(math.log(max(abs(seconds), 1.0)) / 0.301), 128)


def test_time_buckets_equal_a_loop(times):
    buckets = time_buckets(times)
    for row in range(4):
        for t in range(9):
            for j in range(9):
                assert buckets[row, t, j] == bucket_of(float(times[row, t] - times[row, j]))
    assert len(buckets.unique()) > 20


def test_time_buckets_tell_seconds_apart_in_our_days_and_end_somewhere():
    # A float32 of the time itself steps by 128 s.
    times = torch.tensor([[1.7e9, 1.7e9 + 0.5, 1.7e9 + 2, 1.7e9 + 30, 1e30]], dtype=torch.float64)
    assert time_buckets(times)[0, 0].tolist() == [0, 0, bucket_of(2), bucket_of(30), 128]


@pytest.mark.parametrize("time", [False, True])
def test_a_layer_equals_a_loop(time, times):
    layer = built(time).layers[0]
    assert isinstance(layer, Layer)
    x = torch.randn(1, 5, WIDTH, generator=torch.Generator().manual_seed(0))
    normed = F.layer_norm(x[0], (WIDTH,), eps=1e-6)
    u, q, v, k = F.silu(normed @ layer.to_uqvk.weight.T).split(WIDTH, dim=1)
    size, wanted = WIDTH // HEADS, torch.zeros(5, WIDTH)
    for t in range(5):
        mixed = torch.zeros(WIDTH)
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for j in range(t + 1):
                score = q[t, part] @ k[j, part] + layer.by_distance[t - j, 0]
                if time:
                    score = score + layer.by_time[bucket_of(float(times[0, t] - times[0, j])), 0]
                mixed[part] += F.silu(score) / LONGEST * v[j, part]
        gated = F.layer_norm(mixed, (WIDTH,), eps=1e-6) * u[t]
        wanted[t] = x[0, t] + layer.to_out(gated)
    buckets = time_buckets(times[:1, :5]) if time else None
    torch.testing.assert_close(layer(x, buckets)[0], wanted, rtol=1e-4, atol=1e-4)
    for t in range(5):
        torch.testing.assert_close(layer.at(x, torch.tensor([t]), buckets)[0], wanted[t], rtol=1e-4, atol=1e-4)


def test_no_place_knows_a_later_time_and_every_prefix_is_a_history_of_its_own(items, times):
    model = built(True)
    everywhere = model(items, times)
    for end in range(1, 10):
        alone = model.interests(items[:, :end], torch.full((4,), end), times[:, :end])
        torch.testing.assert_close(everywhere[:, end - 1], alone, rtol=1e-4, atol=1e-4)
    later = times.clone()
    later[:, 5:] += YEAR
    torch.testing.assert_close(model(items, later)[:, :5], everywhere[:, :5])
    assert (model(items, later)[:, 5] - everywhere[:, 5]).abs().max() > 0.01


def test_times_matter_by_their_differences_only(items, times):
    model = built(True)
    there = model(items, times)
    torch.testing.assert_close(model(items, times + 64 * DAY), there)
    stretched = times[:, :1] + (times - times[:, :1]) * MINUTE
    assert (model(items, stretched) - there)[:, 1:].abs().max() > 0.01
    assert (model(items) - there).abs().max() > 0.01  # without times, without their bias


def test_what_stands_in_the_padding_does_not_matter(items, times):
    model, lengths = built(True), torch.tensor([9, 1, 4, 7])
    inside = torch.arange(9) < lengths.unsqueeze(1)
    there = model.interests(items * inside, lengths, times)
    torch.testing.assert_close(model.interests(items * inside, lengths, times * inside), there)
    torch.testing.assert_close(model(items * inside, times * inside)[torch.arange(4), lengths - 1], there)


def test_times_are_wanted_only_where_asked_for(items, times):
    assert built(True).uses_timestamps and not built(False).uses_timestamps
    assert not any("by_time" in name for name in built(False).state_dict())
    torch.testing.assert_close(built(False)(items, times), built(False)(items))


def test_training_and_ranking_hand_the_times_over():
    data = planted.histories(planted.world())
    times = np.random.default_rng(0).exponential(DAY, len(data.item_idx)).cumsum()
    model = built(True, data.num_items, enlarged=False)
    start = [layer.by_time.detach().clone() for layer in model.layers]
    histories = dataclasses.replace(data, timestamps=times)
    trainer = Trainer(
        model,
        None,
        histories,
        TrainSettings(lr=1e-2, batch_positions=128, seed=4),
        max_length=LONGEST,
        execution=Execution(torch.device("cpu"), block_rows=64),
    )
    for number in range(3):
        trainer.epoch(number, lambda _: None)
    assert not any(torch.equal(layer.by_time, old) for layer, old in zip(model.layers, start, strict=True))
    ranks = [
        rank_users(model, shown, schema.TEST, max_length=LONGEST, keep_seen=True, batch_size=32).ranks
        for shown in (histories, dataclasses.replace(data, timestamps=times + DAY), data)
    ]
    assert torch.equal(ranks[0], ranks[1]) and not torch.equal(ranks[0], ranks[2])
