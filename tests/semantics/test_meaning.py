"""If the interests predict what the histories do not show, smoothing toward them learns it, and from no control."""

import pytest
import torch

from eimf import schema
from eimf.backbones.build import build_backbone
from eimf.config import HeadSettings, ModelSettings, TrainSettings
from eimf.evaluation.rank_users import rank_users
from eimf.semantics.build import build_side_information
from eimf.train.execution import Execution
from eimf.train.loop import Trainer
from tests.meaning import planted_meaning

MODEL = ModelSettings(width=16, max_length=8, dropout=0.0)
SETTINGS = TrainSettings(lr=1e-2, batch_positions=256, seed=3)


def validation(heads: HeadSettings) -> float:
    """Mean rank of the validation items, from 1, for SASRec after some epochs with these heads."""
    supervision, histories = planted_meaning()
    backbone = build_backbone(MODEL, histories.num_items, SETTINGS.seed)
    semantics = build_side_information(backbone, supervision, histories, heads, SETTINGS.seed)
    job = Trainer(
        backbone, semantics, histories, SETTINGS, max_length=MODEL.max_length, execution=Execution(torch.device("cpu"))
    )
    for epoch in range(8):
        job.epoch(epoch, lambda targets: None)
    ranking = rank_users(
        backbone, histories, schema.VALID, max_length=MODEL.max_length, keep_seen=False, batch_size=256
    )
    return float(ranking.ranks.double().mean())


@pytest.mark.slow
def test_what_only_the_interests_predict_is_learned_from_them_only():
    # The history names 20 items, four of them seen, and the cluster 20 others: behind the history's, 26.5 in the mean.
    smoothing = {"interest": 0.1}
    assert validation(HeadSettings(preset="text", smoothing=smoothing)) < 30
    assert validation(HeadSettings(preset="text")) > 60
    for control in ("shuffled", "random", "cluster", "titles"):
        assert validation(HeadSettings(preset="text", smoothing=smoothing, control=control)) > 60, control
