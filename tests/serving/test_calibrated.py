"""A calibrated model is served as any other: co-occurrence and bias decide what comes, and never what it is called.

A world of two groups of three items. Item vectors tell the group. The bias prefers the last item of each group; items 1
and 6, of different groups, often occur together.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from eimf.backbones.base import Backbone
from eimf.choice.calibrated import Calibrated
from eimf.export.index import build_index
from eimf.export.tower import TorchTower
from eimf.serving.catalogue import Catalogue
from eimf.serving.cold_start import ColdStart
from eimf.serving.faiss_index import open_index
from eimf.serving.index import ExactIndex, Index
from eimf.serving.labels import Labels
from eimf.serving.recommend import Recommender
from tests.pipeline.http.bundles import COLD_START

IDS = ["1", "2", "3", "4", "5", "6"]
GROUPS = np.array([[1, 0]] * 3 + [[0, 1]] * 3, np.float32)
BIAS = [0, 0.1, 0.5, 0, 0.1, 0.5]
TOGETHER = [1, 0, 0, 0, 0, 1]


class LastItem(Backbone):
    """The vector of the last item."""

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        return self.item_table(items).unsqueeze(2)


def calibrated(bias: list[float], together: float) -> Calibrated:
    """After one of items 1 and 6, the other has a score of `together` more."""
    backbone = LastItem(num_items=6, width=2)
    with torch.no_grad():
        backbone.item_table.weight[1:] = torch.from_numpy(GROUPS)
    further = torch.tensor(TOGETHER, dtype=torch.float32).unsqueeze(1)
    return Calibrated(backbone, further, torch.tensor(bias), torch.zeros(1, 1), torch.tensor([[together]])).eval()


def recommender(model: Calibrated, index: Index | None = None) -> Recommender:
    table = model.item_table.weight.detach().numpy()
    labels = Labels(["first group", "second group"], np.eye(2, dtype=np.float32), np.array([-1] * 6), threshold=0.9)
    return Recommender(
        TorchTower(model),
        index or ExactIndex(table),
        Catalogue(IDS, [None] * 6),
        table,
        max_length=10,
        keep_seen=False,
        cold_start=ColdStart(COLD_START, np.zeros((6, 3), np.float32), np.zeros((3, 4), np.float32), table),
        base_width=model.base_width,
        labels=labels,
    )


def test_the_bias_decides_within_a_group_and_co_occurrence_between_them():
    model = recommender(calibrated(BIAS, together=2.0))
    answer = model.recommend_one(["2"], 5)
    assert [item.item_id for item in answer.items] == ["3", "1", "6", "5", "4"]
    assert [item.score for item in answer.items] == pytest.approx([1.5, 1.0, 0.5, 0.1, 0.0])
    answer = model.recommend_one(["4", "1"], 5)
    assert [item.item_id for item in answer.items][:3] == ["6", "3", "2"] and answer.items[0].score == pytest.approx(
        2.5
    )
    unbiased = recommender(calibrated([0.0] * 6, together=0.0))
    assert [item.item_id for item in unbiased.recommend_one(["2"], 5).items] == ["1", "3", "4", "5", "6"]


def test_an_item_is_named_and_explained_by_its_place_whatever_its_bias():
    for bias in (BIAS, [100.0, -100, 3, 0.5, 1e4, -7]):
        answer = recommender(calibrated(bias, together=2.0)).recommend_for(["second group"], ["1", "4"], 6)
        because = {item.item_id: item.reason.because for item in answer.items}
        assert because == {"2": "1", "3": "1", "5": "4", "6": "4"}
        assert {item.item_id for item in answer.items if item.reason.label == "second group"} == {"5", "6"}


@pytest.mark.parametrize("kind", ["hnsw", "ivfpq"])
def test_an_approximate_index_finds_what_a_bias_and_many_further_coordinates_make_large(kind):
    rng = np.random.default_rng(0)
    items, width, further = 1200, 8, 16
    table = rng.standard_normal((items + 1, width + further + 1)).astype(np.float32)
    table[:, -1] = 2 * np.log(rng.random(items + 1) + 1e-3)  # as large as all the rest together
    table[0] = 0
    interests = rng.standard_normal((60, 2, width + further + 1)).astype(np.float32)
    interests[..., width:] = interests[:, :1, width:]
    interests[..., -1] = 1
    built = build_index(table, interests, kind, count=10)
    assert built.recall is not None and built.recall["10"] > 0.97
    found = open_index(table, built.kind, built.parameters, built.data).search(interests, 10)
    exact = ExactIndex(table).search(interests, 10)
    assert (found.item_idx == exact.item_idx).mean() > 0.9
