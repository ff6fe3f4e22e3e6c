import math

import pytest
import torch
from torch import nn

from eimf.config import TrainSettings
from eimf.train.optimizer import Optimizer, rate_factor


def test_the_learning_rate_warms_up_and_falls():
    settings = TrainSettings(epochs=10, warmup_epochs=2, schedule="cosine")
    assert rate_factor(settings, 1) == pytest.approx(1 / 2 * (1 + math.cos(math.pi / 10)) / 2)
    assert rate_factor(settings, 5) == pytest.approx(1 / 2)
    assert rate_factor(settings, 10) == 0
    assert rate_factor(settings.model_copy(update={"schedule": "linear"}), 4) == pytest.approx(6 / 10)
    assert rate_factor(TrainSettings(), 3.7) == 1


def parameters() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return {name: nn.Parameter(torch.randn(6, 3, generator=generator)) for name in ("table", "other")}


def step(named: dict[str, nn.Parameter], optimizer: Optimizer, rows: list[int], sparse: bool) -> None:
    index = torch.tensor(rows)
    picked = nn.functional.embedding(index, named["table"], sparse=sparse)
    optimizer.zero_grad()
    (picked.pow(2).sum() + named["other"].pow(2).sum()).backward()
    optimizer.step(1.0)


def test_lazy_updates_are_adam_where_every_row_has_a_gradient_and_leave_others_alone():
    settings = TrainSettings(lr=0.1, clip=0.5)
    dense, lazy = parameters(), parameters()
    both = Optimizer(dense, [], settings), Optimizer(lazy, ["table"], settings)
    for rows in ([0, 1, 2, 3, 4, 5, 5], [5, 4, 3, 2, 1, 0, 0]):
        step(dense, both[0], rows, sparse=False)
        step(lazy, both[1], rows, sparse=True)
    for name in dense:
        torch.testing.assert_close(lazy[name], dense[name])  # clipping included: repeated rows are added up first
    before = lazy["table"].detach().clone()
    step(lazy, both[1], [1, 1, 4], sparse=True)
    moved = (lazy["table"] != before).any(dim=1)
    assert moved.tolist() == [False, True, False, False, True, False]


@pytest.mark.parametrize("clip", [0.5, 100.0])
def test_steps_are_those_of_adamw_written_out(clip):
    # Loshchilov and Hutter 2019, algorithm 2, on gradients 2 w of all parameters together cut to a norm of `clip`.
    settings = TrainSettings(lr=0.1, clip=clip, weight_decay=0.3, epochs=4, schedule="linear")
    named = parameters()
    optimizer = Optimizer(named, [], settings)
    weights = torch.cat([value.detach().double().flatten() for value in named.values()])
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)
    for t in (1, 2, 3):
        gradient = 2 * weights
        gradient *= min(1, settings.clip / float(gradient.norm()))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        rate = settings.lr * 3 / 4  # after one of four epochs
        move = (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
        weights = weights - rate * settings.weight_decay * weights - rate * move
        step(named, optimizer, list(range(6)), sparse=False)
    stepped = torch.cat([value.detach().flatten() for value in named.values()])
    torch.testing.assert_close(stepped.double(), weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_loaded_state_goes_on_bit_for_bit(sparse):
    settings = TrainSettings(lr=0.1)
    whole, part = parameters(), parameters()
    lazy = ["table"] if sparse else []
    first, second = Optimizer(whole, lazy, settings), Optimizer(part, lazy, settings)
    for rows in ([0, 1], [1, 3]):
        step(whole, first, rows, sparse)
        step(part, second, rows, sparse)
    third = Optimizer(part, lazy, settings)
    third.load({name: value.clone() for name, value in second.state().items()})
    step(whole, first, [1, 5], sparse)
    step(part, third, [1, 5], sparse)
    assert all(torch.equal(whole[name], part[name]) for name in whole)
