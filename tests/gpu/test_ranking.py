"""A GPU ranks as a CPU does, but for scores that differ by less than rounding."""

import numpy as np
import pytest
import torch
from torch import Tensor

from eimf import schema
from eimf.backbones.base import Backbone
from eimf.backbones.build import build_backbone
from eimf.backbones.registry import BACKBONES
from eimf.config import ModelSettings
from eimf.data.histories import Histories
from eimf.evaluation.eval_batches import eval_batches
from eimf.evaluation.rank_users import Ranking, metrics_table, rank_users
from eimf.retrieval import Exclude, best_item_idx, nearest_rows, rank
from tests.gpu.device import CPU, GPU

SLACK = 1e-5
"""Scores that are nearer to each other than this part of |h| |e| may come in either order."""


def model(data: Histories, backbone: str) -> Backbone:
    settings = ModelSettings(backbone=backbone, width=32, max_length=10, options={"hstu": {"time": True}})
    drawn = build_backbone(settings, data.num_items, seed=0).eval()
    with torch.no_grad():  # at the start all scores are near 0, and alike
        drawn.item_table.weight.mul_(20)
    return drawn


@torch.no_grad()
def bounds(backbone: Backbone, data: Histories, split: str, keep_seen: bool) -> tuple[Tensor, Tensor]:
    """Ranks [R] between which that of each case's item must lie: from scores on the CPU in float64. Without
    `keep_seen` an item of the history is never shown."""
    table, cases = backbone.item_vectors.double(), data.cases[split]
    least, most = torch.zeros(len(cases)).long(), torch.zeros(len(cases)).long()
    for batch in eval_batches(data, cases, 10, 64, 6400):
        interests = backbone.interests(batch.item_idx, batch.lengths, batch.times).double()
        scores = (interests @ table.T).amax(dim=1)
        slack = SLACK * interests.norm(dim=2).amax(dim=1, keepdim=True) * table.norm(dim=1).max()
        of_target = scores.gather(1, batch.relevant_item_idx.unsqueeze(1) - 1)
        if not keep_seen:
            scores[batch.history_row, batch.history_item_idx - 1] = -torch.inf
        least[batch.relevant] = 1 + (scores > of_target + slack).sum(dim=1)
        most[batch.relevant] = (scores >= of_target - slack).sum(dim=1)
    if not keep_seen:
        repeated = data.repeated(cases)
        least[repeated] = most[repeated] = schema.NEVER
    return least, most


@pytest.mark.parametrize("split", [schema.VALID, schema.TEST])
@pytest.mark.parametrize("keep_seen", [False, True])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_users_rank_as_on_a_cpu(data, backbone, keep_seen, split):
    trained = model(data, backbone)
    least, most = bounds(trained, data, split, keep_seen)
    assert float((least == most).float().mean()) > 0.9  # or this would say nothing
    options = {"max_length": 10, "keep_seen": keep_seen, "batch_size": 32, "cutoffs": (5,)}
    rankings: list[Ranking] = [rank_users(trained.to(device), data, split, **options) for device in (CPU, GPU)]
    for ranking in rankings:
        assert ((least <= ranking.ranks) & (ranking.ranks <= most)).all()
        assert int(ranking.exposure[5].sum()) == 5 * data.num_users
    assert (rankings[0].exposure[5] - rankings[1].exposure[5]).abs().sum() <= 4
    tables = [metrics_table(each, data, (5, 10)).to_pylist() for each in rankings]
    for row, twin in zip(*tables, strict=True):
        assert twin["value"] == pytest.approx(row["value"], abs=0.02)


@pytest.mark.parametrize("items", [200, 300_000])
def test_ranks_and_best_items_of_given_vectors(items):
    """Small whole numbers: sums of any order are exact, and ties count against the target everywhere."""
    rng = np.random.default_rng(0)
    interests, table = (
        torch.from_numpy(rng.integers(-3, 4, shape).astype(np.float32)) for shape in ((60, 3, 16), (items, 16))
    )
    target = torch.from_numpy(rng.integers(1, items + 1, 60))
    rows, seen = torch.arange(60).repeat_interleave(20), torch.from_numpy(rng.integers(1, items + 1, 1200))
    other = seen != target[rows]
    rows, seen = rows[other], seen[other]
    here = rank(interests, table, target, Exclude(rows, seen), top=20)
    there = rank(interests.to(GPU), table.to(GPU), target.to(GPU), Exclude(rows.to(GPU), seen.to(GPU)), top=20)
    assert torch.equal(there.rank.cpu(), here.rank)
    scores = torch.stack([interests[:, k] @ table.T for k in range(3)]).amax(dim=0)
    scores[rows, seen - 1] = -torch.inf
    best, value = best_item_idx(interests.to(GPU), table.to(GPU), Exclude(rows.to(GPU), seen.to(GPU)), 20)
    for shown in (best, there.top_item_idx):
        # Which of several equal items comes first is open; its score is not.
        assert torch.equal(scores.gather(1, shown.cpu() - 1), scores.topk(20).values)
    assert torch.equal(value.cpu(), scores.topk(20).values)


def test_nearest_rows_of_a_table():
    torch.manual_seed(0)
    table, queries = torch.randn(5000, 64), torch.randn(300, 64)
    for own in (False, True):
        asked = table[:300] if own else queries
        here = nearest_rows(asked, table, 10, exclude_self=own)
        there = nearest_rows(asked.to(GPU), table.to(GPU), 10, exclude_self=own)
        torch.testing.assert_close(there[1].cpu(), here[1], rtol=1e-4, atol=1e-4)
        assert (there[0].cpu() == here[0]).float().mean() > 0.99


def test_ties_and_numbers_that_are_none_rank_last():
    alike = torch.randn(1, 64, device=GPU).expand(1000, -1).contiguous()
    result = rank(torch.randn(7, 2, 64, device=GPU), alike, torch.arange(1, 8, device=GPU))
    assert result.rank.tolist() == [1000] * 7
    lost = rank(torch.full((1, 1, 2), torch.nan, device=GPU), torch.randn(4, 2, device=GPU), torch.tensor([2]).to(GPU))
    assert lost.rank.tolist() == [4]
