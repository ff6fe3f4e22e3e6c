"""Item biases in training: their loss by hand, every loss, and that they learn which items come late."""

import typing

import numpy as np
import pytest
import torch

from eimf.backbones.biased import Biased
from eimf.backbones.build import build_backbone
from eimf.config import HeadSettings, ModelSettings, TrainSettings
from eimf.data.histories import Histories
from eimf.export.cold_start_design import item_scores
from eimf.semantics.build import build_side_information
from eimf.semantics.supervision import read_supervision
from eimf.train.execution import Execution
from eimf.train.item_bias import add_life_cycle
from eimf.train.loop import Trainer
from tests import world as planted
from tests.train.frozen import tables

WIDTH = 8


@pytest.fixture(scope="module")
def data() -> Histories:
    return planted.histories(planted.world(users=30))


def model(backbone: str) -> ModelSettings:
    return ModelSettings(backbone=backbone, width=WIDTH, max_length=20, dropout=0.0, item_bias="lifecycle")


def biased(data: Histories, backbone: str = "comirec-sa") -> Biased:
    built = build_backbone(model(backbone), data.num_items, 7)
    assert isinstance(built, Biased)
    add_life_cycle(built, torch.from_numpy(item_scores(data)))
    return built


def trainer(backbone: Biased, data: Histories, **changes: object) -> Trainer:
    settings = TrainSettings(batch_positions=100, seed=7).model_copy(update=changes)
    return Trainer(backbone, None, data, settings, max_length=20, execution=Execution(torch.device("cpu")))


def test_a_bias_drifts_with_the_place_of_the_target(data):
    backbone = biased(data)
    of_statistics = backbone.item_table.parametrizations.weight[0].weight
    with torch.no_grad():
        backbone.item_table.parametrizations.weight.original.mul_(30)
        backbone.item_table.parametrizations.weight.original[1:, WIDTH] = torch.arange(data.num_items) / 9
        of_statistics.copy_(torch.tensor([[0.2, 0.5], [-0.3, 1.0], [0.4, -2.0]]))
    loss = trainer(backbone, data, lr=1e-12).epoch(0, lambda _: None)["loss"]
    scores = item_scores(data).astype(float)
    scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    bias = np.arange(data.num_items) / 9 + scores @ [0.2, -0.3, 0.4]
    drift = scores @ [0.5, 1.0, -2.0]
    table, total, count = backbone.item_vectors.detach()[:, :WIDTH].double(), 0.0, 0
    for user in range(data.num_users):
        n = data.num_train[user]
        items = torch.from_numpy(data.item_idx[data.offsets[user] :][:n].astype(np.int64))
        with torch.no_grad():
            interests = backbone.eval()(items[None])[0][..., :WIDTH].double()
        for position in range(1, n):
            target = int(items[position]) - 1
            match = interests[position - 1] @ table.T  # [K, N]
            logits = match[match[:, target].argmax()] + torch.from_numpy(bias + (position / (n - 1) - 1) * drift)
            total, count = total - float(logits.log_softmax(dim=0)[target]), count + 1
    assert loss == pytest.approx(total / count, rel=1e-4)


@pytest.mark.parametrize("loss", typing.get_args(TrainSettings.model_fields["loss"].annotation))
def test_with_texts_and_any_loss_what_is_saved_serves_the_same_scores(data, loss):
    backbone, heads = biased(data), HeadSettings(preset="text", alignment={"items": 0.1, "users": 0.1, "semantic": 0.1})
    side = build_side_information(backbone, read_supervision(*tables(data), data), data, heads, 7)
    settings = TrainSettings(batch_positions=100, seed=7, loss=loss, negatives=40, lr=1e-2)
    job = Trainer(backbone, side, data, settings, max_length=20, execution=Execution(torch.device("cpu")))
    losses = [job.epoch(number, lambda _: None)["rec"] for number in range(3)]
    assert losses[-1] < losses[0]
    served = build_backbone(model("comirec-sa"), data.num_items, 1).eval()
    served.load_state_dict(backbone.eval().serving_state_dict())
    assert served.item_vectors.shape == (data.num_items, WIDTH + 1)
    assert served.item_vectors[:, WIDTH].abs().min() > 0
    items, lengths = torch.tensor([[4, 9, 2], [7, 0, 0]]), torch.tensor([3, 1])
    with torch.no_grad():
        wanted = backbone.interests(items, lengths) @ backbone.item_vectors.T
        torch.testing.assert_close(served.interests(items, lengths) @ served.item_vectors.T, wanted)


@pytest.mark.parametrize("loss", ["softmax", "sampled"])
def test_a_bias_without_statistics_learns_the_frequent_items(loss):
    rng = np.random.default_rng(0)
    item_idx = rng.integers(1, 11, 600) * rng.integers(0, 2, 600) + 1  # item 1 is half of all
    data = Histories(item_idx, np.arange(0, 601, 12), np.full(50, 10), 11)
    backbone = build_backbone(model("dnn").model_copy(update={"item_bias": "learned"}), 11, 7)
    assert isinstance(backbone, Biased)
    job = trainer(backbone, data, lr=3e-2, loss=loss, negatives=11)
    for number in range(4):
        job.epoch(number, lambda _: None)
    assert int(backbone.item_vectors[:, WIDTH].argmax()) == 0


def test_at_the_end_of_the_histories_late_items_have_the_largest_bias():
    """Items 1 to 20 in the first halves of all histories and 21 to 40 in the second ones: equally frequent."""
    rng = np.random.default_rng(0)
    halves = [np.concatenate([rng.choice(20, 6) + 1, rng.choice(20, 6) + 21]) for _ in range(60)]
    data = Histories(np.concatenate(halves), np.arange(0, 721, 12), np.full(60, 12), 40)
    backbone = biased(data, "dnn")
    job = trainer(backbone, data, lr=3e-2)
    for number in range(4):
        job.epoch(number, lambda _: None)
    bias = backbone.serving_state_dict()["item_table.weight"][1:, WIDTH]
    assert bias[:20].max() < bias[20:].min()
