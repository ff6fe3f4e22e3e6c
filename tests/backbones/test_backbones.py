"""One contract for every backbone."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from eimf import schema
from eimf.backbones.base import Backbone
from eimf.backbones.build import build_backbone
from eimf.backbones.registry import BACKBONES
from eimf.config import ModelSettings, TrainSettings
from eimf.evaluation.rank_users import mean_metric, rank_users
from eimf.train.execution import Execution
from eimf.train.loop import Trainer
from tests import world as planted
from tests.backbones.world_interests import separated

NAMES = list(BACKBONES)
ITEMS = 30
GROUPS_ALONE = sum(1 / np.log2(rank + 1) for rank in range(1, 11)) / 16
"""NDCG@10 of the planted world's test items, of 48, for whoever knows a user's two groups of 8 and nothing else: .284.
With whose turn it is, 8 items are left: sum(1 / log2(rank + 1), rank 1..8) / 8 = .494. More takes the order."""


@dataclass(frozen=True)
class Learns:
    """What a backbone has to reach in the planted world after so many epochs at this learning rate."""

    ndcg: float
    epochs: int
    lr: float = 1e-2
    separates: float | None = None
    """Share of users whose interests have to lie nearest to items of both of their groups; a single vector, of which
    the first of all interests is one, lies near one group."""
    users: int = 120
    batch: int = 128
    options: dict[str, object] = field(default_factory=dict)


LEARNS = {
    "sasrec": Learns(0.65, epochs=32, lr=3e-2, batch=256),
    "comirec-sa": Learns(0.35, epochs=10, separates=0.9),
    "remi": Learns(0.32, epochs=10, users=200, separates=0.9),
    "bsarec": Learns(0.8, epochs=20),
    "hstu": Learns(0.95, epochs=10, lr=2e-2),
    "mind": Learns(0.37, epochs=12, users=200, separates=0.6),
    "comirec-dr": Learns(0.37, epochs=14, users=200, separates=0.85),
    "sine": Learns(0.34, epochs=30, options={"interests": 2, "concepts": 6}),
    "dnn": Learns(0.43, epochs=25, lr=2e-2),
    "gru4rec": Learns(0.9, epochs=10, lr=2e-2),
    "bert4rec": Learns(0.37, epochs=24, lr=5e-3, options={"layers": 1}),
}


def small(name: str, items: int = ITEMS, dropout: float = 0.0, **options: object) -> ModelSettings:
    settings = {"backbone": name, "width": 16, "max_length": 12, "dropout": dropout, "options": {name: options}}
    return ModelSettings.model_validate(settings)


@pytest.fixture(params=NAMES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """Weights large enough that every part matters."""
    model = build_backbone(small(request.param), ITEMS, seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.mul_(10)
    return model.eval()


def histories(batch: int = 6, length: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(1, length + 1, (batch,), generator=generator)
    items = torch.randint(1, ITEMS + 1, (batch, length), generator=generator)
    return items * (torch.arange(length) < lengths.unsqueeze(1)), lengths


def test_shapes(backbone):
    items, lengths = histories()
    assert backbone(items).shape[:2] == items.shape and backbone(items).shape[3] == 16
    assert backbone.interests(items, lengths).shape == (6, backbone(items).shape[2], 16)
    assert backbone.item_vectors.shape == (ITEMS, 16)


def test_no_place_sees_the_future_and_every_prefix_is_a_history_of_its_own(backbone):
    items, lengths = histories()
    everywhere = backbone(items)
    for row, length in enumerate(lengths.tolist()):
        for end in range(1, length + 1):
            alone = backbone.interests(items[row : row + 1, :end], torch.tensor([end]))
            torch.testing.assert_close(everywhere[row, end - 1], alone[0], rtol=1e-4, atol=1e-5)


def test_padding_and_company_do_not_change_a_user(backbone):
    items, lengths = histories()
    together = backbone.interests(items, lengths)
    wide = torch.cat([items, torch.zeros(6, 2, dtype=items.dtype)], dim=1)
    torch.testing.assert_close(backbone.interests(wide, lengths), together, rtol=1e-4, atol=1e-5)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(backbone.interests(items[order], lengths[order]), together[order], rtol=1e-4, atol=1e-5)


def test_the_same_without_gradients(backbone):
    items, lengths = histories()
    with torch.no_grad():
        everywhere, last = backbone(items), backbone.interests(items, lengths)
    torch.testing.assert_close(everywhere, backbone(items), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last, backbone.interests(items, lengths), rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter_and_padding_stays_zero(backbone):
    items, lengths = histories(batch=20)
    (backbone.interests(items, lengths) ** 2).sum().backward()
    for name, parameter in backbone.named_parameters():
        rows = parameter.grad[: int(lengths.max())] if name == "position" else parameter.grad
        assert rows.abs().sum() > 0, name
    assert backbone.item_table.weight[0].abs().sum() == 0
    assert backbone.item_table.weight.grad[0].abs().sum() == 0


def test_half_precision_trains(backbone):
    # As `train.precision = "bfloat16"` has it on a GPU: products in bfloat16, weights in float32.
    items, _ = histories(batch=20)
    with torch.autocast("cpu", torch.bfloat16):
        output = backbone.train().forward_train(items, items)
    (output.interests.float() ** 2).sum().backward()
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in backbone.parameters())


def trained(
    name: str, epochs: int, users: int = planted.USERS, lr: float = 1e-2, batch: int = 128, **options: object
) -> tuple[Trainer, list[float]]:
    settings = small(name, dropout=0.1, **options)
    data = planted.histories(planted.world(users=users))
    train = TrainSettings(lr=lr, batch_positions=batch, seed=1)
    model = build_backbone(settings, data.num_items, seed=1)
    execution = Execution(torch.device("cpu"), block_rows=64)
    trainer = Trainer(model, None, data, train, max_length=12, execution=execution)
    return trainer, [trainer.epoch(number, lambda _: None)["loss"] for number in range(epochs)]


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_curve(name):
    first, second = (trained(name, 1, users=30) for _ in range(2))
    assert first[1] == second[1]
    weights = [trainer.backbone.state_dict() for trainer, _ in (first, second)]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_every_backbone_has_to_know_more_than_the_groups():
    assert LEARNS.keys() == BACKBONES.keys()
    assert min(learns.ndcg for learns in LEARNS.values()) > GROUPS_ALONE + 0.03


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_learns_the_planted_world(name):
    learns = LEARNS[name]
    trainer, losses = trained(name, learns.epochs, learns.users, learns.lr, learns.batch, **learns.options)
    ranking = rank_users(trainer.backbone, trainer.histories, schema.TEST, max_length=12, keep_seen=True, batch_size=32)
    assert mean_metric(ranking, "ndcg", 10) > learns.ndcg
    assert losses[-1] < losses[0]
    both = separated(trainer, learns.users)
    assert both == 0 if learns.separates is None else both > learns.separates


def test_weights_far_apart_stay_finite():
    model = build_backbone(small("comirec-sa"), ITEMS, seed=1).eval()
    with torch.no_grad():
        model.to_weight.weight.mul_(1e4)
    assert bool(torch.isfinite(model(histories()[0])).all())


def test_interests_of_all_prefixes_are_softmaxes_of_their_own():
    # ComiRec, equation for A, written out prefix by prefix with an ordinary softmax; 4 is sqrt(D).
    model = build_backbone(small("comirec-sa"), ITEMS, seed=1).eval()
    items = torch.tensor([[4, 9, 2, 9, 7]])
    e = model.item_table(items)[0]
    weight = model.to_weight(torch.tanh(model.to_hidden(e + model.position[:5])))
    for end in range(1, 6):
        attention = torch.softmax(weight[:end], dim=0)  # [t, K]
        torch.testing.assert_close(model(items)[0, end - 1], 4 * attention.T @ e[:end], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_inference_function_gives_the_interests(name):
    model = build_backbone(ModelSettings(backbone=name, width=16, max_length=9), ITEMS, seed=3).eval()
    noise = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.1)
    items, lengths = torch.randint(1, ITEMS + 1, (5, 7), generator=noise), torch.tensor([7, 1, 4, 7, 2])
    items[torch.arange(7) >= lengths.unsqueeze(1)] = 0
    interests = model.inference_fn(1000)
    assert (interests == model.interests) == (name != "sasrec")  # which has tables for it
    torch.testing.assert_close(interests(items, lengths, None), model.interests(items, lengths), rtol=1e-4, atol=1e-5)
    assert model.inference_fn(ITEMS) == model.interests  # tables do not pay for so few


@pytest.mark.parametrize("name", NAMES)
def test_interests_are_those_of_the_last_prefix(name):
    model = build_backbone(ModelSettings(backbone=name, width=16, max_length=9, dropout=0.5), 30, seed=3).eval()
    items = torch.randint(1, 31, (5, 9), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([9, 1, 4, 7, 2])
    items[torch.arange(9) >= lengths.unsqueeze(1)] = 0
    wanted = model(items)[torch.arange(5), lengths - 1]
    torch.testing.assert_close(model.interests(items, lengths), wanted)
