"""The loss of a step, written out target by target, and what each setting of the loop changes in it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from eimf.backbones.base import Backbone
from eimf.backbones.build import build_backbone
from eimf.config import HeadSettings, ModelSettings, TrainSettings
from eimf.data.histories import Histories
from eimf.semantics.build import build_side_information
from eimf.semantics.soft_targets import FREQUENCY_DECAY, NEIGHBORS, TEMPERATURE
from eimf.semantics.supervision import Supervision, read_supervision
from eimf.train import auxiliary
from eimf.train.execution import Execution
from eimf.train.loop import Trainer
from tests import world as planted
from tests.train.frozen import tables

LONG = 20  # no history is cut
TINY_LR = 1e-12
"""A learning rate at which no weight moves: the losses of an epoch are those of the first weights."""


@pytest.fixture(scope="module")
def data() -> Histories:
    return planted.histories(planted.world(users=30))


@pytest.fixture(scope="module")
def supervision(data) -> Supervision:
    """The LLM has read some of the first events of every third user."""
    read = np.where(np.arange(data.num_users) % 3 == 0, data.num_train // 2, -1)
    return read_supervision(*tables(data, read), data)


def trainer(
    data: Histories,
    supervision: Supervision | None = None,
    heads: HeadSettings | None = None,
    backbone: str = "comirec-sa",
    max_length: int = LONG,
    options: dict[str, object] | None = None,
    **changes: object,
) -> Trainer:
    model = ModelSettings(
        backbone=backbone, width=16, max_length=max_length, dropout=0.0, options={backbone: options or {}}
    )
    built = build_backbone(model, data.num_items, 7)
    with torch.no_grad():
        built.item_table.weight.mul_(10)  # scores that differ
    side = None
    if heads is not None and supervision is not None:
        side = build_side_information(built, supervision, data, heads, 7)
    train = TrainSettings(lr=TINY_LR, batch_positions=100, seed=7).model_copy(update=changes)
    return Trainer(built, side, data, train, max_length=max_length, execution=Execution(torch.device("cpu")))


def epoch(job: Trainer, number: int = 0) -> dict[str, float]:
    return job.epoch(number, lambda _: None)


def neighbor_shares(text: torch.Tensor, item_text: torch.Tensor, without: int = -1) -> dict[int, float]:
    """Shares of the rows of the item table that are nearest to a text."""
    cosines = item_text @ text
    rows = [row for row in cosines.argsort(descending=True).tolist() if row != without][:NEIGHBORS]
    shares = (cosines[rows] / TEMPERATURE).softmax(dim=0).tolist()
    return dict(zip(rows, shares, strict=True))


def by_hand(
    data: Histories, known: Supervision, backbone: Backbone, item: float, user: float, interest: float
) -> tuple[float, float]:
    """(rec, soft): cross entropy of each target, and what it gains if a share goes to the items near its text, to
    those near the user's mean text, and to those near the interest of the user's cluster that is nearest to it. A share
    shrinks with the number of training events of the item, or of the user."""
    table, text, frequency = backbone.item_vectors, known.item_text_vectors, data.frequency()
    rec, soft, count = 0.0, 0.0, 0
    for number in range(data.num_users):
        begin, end = data.offsets[number], data.offsets[number] + data.num_train[number]
        rows = torch.from_numpy(data.item_idx[begin:end] - 1)
        mean, user_weight = F.normalize(text[rows].mean(dim=0), dim=0), 1 / (1 + FREQUENCY_DECAY * len(rows))
        everywhere = backbone(rows[None] + 1)[0]  # [T, K, D]
        for position in range(1, len(rows)):
            target = int(rows[position])
            weight = 1 / (1 + FREQUENCY_DECAY * frequency[target])
            interests = everywhere[position - 1]
            logs = (table @ interests[(interests @ table[target]).argmax()]).log_softmax(dim=0)
            rec -= float(logs[target])
            labels = [
                (item * weight, neighbor_shares(text[target], text, without=target)),
                (user * user_weight, neighbor_shares(mean, text)),
            ]
            cluster = int(known.cluster[number])
            if cluster >= 0 and position > known.last_prompted_position[number]:
                of_cluster = known.interest_vectors[cluster][known.interest_mask[cluster]]
                closest = of_cluster[(of_cluster @ text[target]).argmax()]
                labels.append((interest * weight, neighbor_shares(closest, text)))
            for share, neighbors in labels:
                soft += share * sum(part * float(logs[target] - logs[row]) for row, part in neighbors.items())
            count += 1
    return rec / count, soft / count


@pytest.mark.parametrize("shares", [(0.3, 0, 0), (0, 0.3, 0), (0, 0, 0.3), (0.2, 0.1, 0.15)])
def test_soft_labels_by_hand(data, supervision, shares):
    smoothing = dict(zip(("item", "user", "interest"), shares, strict=True))
    job = trainer(data, supervision, HeadSettings(preset="plain", smoothing=smoothing))
    losses = epoch(job)
    with torch.no_grad():
        rec, soft = by_hand(data, supervision, job.backbone.eval(), *shares)
    assert losses["rec"] == pytest.approx(rec, rel=1e-4)
    assert losses["soft"] == pytest.approx(soft, rel=1e-4)
    assert losses["loss"] == pytest.approx(rec + soft, rel=1e-4)


def test_a_backbones_penalty_is_a_part_of_the_loss(data):
    losses = epoch(trainer(data, backbone="remi", options={"routing": 5000.0}))
    assert losses["penalty"] > 0.01
    assert losses["loss"] == pytest.approx(losses["rec"] + losses["penalty"], rel=1e-6)


HEADS = HeadSettings(preset="plain", alignment={"semantic": 0.1})


def test_the_positions_of_the_auxiliary_tasks_are_drawn_from_all_users(data, supervision, monkeypatch):
    monkeypatch.setattr(auxiliary, "AUX_POSITIONS", 6)
    # Only the last users have a cluster: the first positions of a batch would be those of other users.
    last = replace(supervision, cluster=torch.where(torch.arange(data.num_users) < 20, -1, 0))
    losses = epoch(trainer(data, last, HEADS))
    assert losses["semantic"] > 0.3


def test_unmasked_positions_of_bert4rec_have_no_semantic_loss_either(data, supervision):
    # One position of each sequence is masked: few positions count, each with a cross entropy of about log N.
    everyone = replace(supervision, cluster=torch.zeros(data.num_users, dtype=torch.long))
    masked, all_positions = (
        epoch(trainer(data, everyone, HEADS, backbone=name, options=options))["semantic"]
        for name, options in (("bert4rec", {"mask": 0.0}), ("sasrec", {}))
    )
    assert 0 < masked < all_positions / 3


def test_every_step_draws_from_a_stream_of_its_own(data):
    job, seeds = trainer(data), []
    for number in range(2):
        job.epoch(number, lambda _: seeds.append(torch.initial_seed()))
    assert len(seeds) > 6 and len(set(seeds)) == len(seeds)


def test_the_learning_rate_rises_within_the_first_epoch(data):
    job = trainer(data, lr=1e-2, warmup_epochs=1.0)
    before = {name: value.clone() for name, value in job.backbone.state_dict().items()}
    epoch(job)
    # Adam moves a weight by about the rate: 1/n, 2/n, .. n/n of it in n steps; at the rate of the epoch's start by 0.
    moved = max(float((value - before[name]).abs().max()) for name, value in job.backbone.state_dict().items())
    assert 1e-2 < moved < 1e-2 * 0.75 * math.ceil(data.training_targets / 50)


def test_windows_of_a_cut_history_overlap(data):
    # The same targets, some of them from a longer past.
    short, longer = (epoch(trainer(data, max_length=6, window_overlap=overlap)) for overlap in (0, 5))
    assert short["rec"] != longer["rec"]
    assert longer == epoch(trainer(data, max_length=6, window_overlap=99))  # as many as there can be
