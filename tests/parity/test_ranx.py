"""Metrics beside ranx 0.3: the same value for every case, with one to many relevant items, to 1e-12.

All definitions agree with ours, also for more relevant items than places: ranx divides the recall
and the average precision by all relevant items, and takes the ideal list of NDCG from the best min(k, relevant) of them.

    python -m pytest tests/parity/test_ranx.py     in an environment with ranx
"""

import numpy as np
import pytest
import torch

pytest.importorskip("ranx")

import ranx

from eimf.metrics import METRICS, per_case
from eimf.schema import NEVER

CASES, ITEMS, PLACES = 200, 60, 40
CUTOFFS = (1, 3, 10, 20, 50)
pytestmark = pytest.mark.timeout(600)  # ranx compiles each metric at its first use


@pytest.fixture(scope="module")
def drawn() -> tuple[list[list[int]], list[list[int]]]:
    """A ranked list of 40 of 60 items for each case, and its relevant items, some of which are not in the list."""
    rng = np.random.default_rng(0)
    lists = [rng.permutation(ITEMS)[:PLACES].tolist() for _ in range(CASES)]
    return lists, [rng.permutation(ITEMS)[: rng.integers(1, 25)].tolist() for _ in range(CASES)]


@pytest.fixture(scope="module")
def theirs(drawn) -> dict[str, np.ndarray]:
    lists, relevant = drawn
    qrels = {f"{case:03}": {str(item): 1 for item in items} for case, items in enumerate(relevant)}
    run = {
        f"{case:03}": {str(item): float(ITEMS - rank) for rank, item in enumerate(items)}
        for case, items in enumerate(lists)
    }
    names = [f"{name}@{k}" for name in METRICS for k in CUTOFFS]
    return ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), names, return_mean=False)


@pytest.mark.parametrize("k", CUTOFFS)
@pytest.mark.parametrize("name", METRICS)
def test_every_case_has_the_value_of_ranx(drawn, theirs, name, k):
    lists, relevant = drawn
    rank_of = [{item: rank for rank, item in enumerate(items, 1)} for items in lists]
    pairs = [(case, rank_of[case].get(item, NEVER)) for case, items in enumerate(relevant) for item in items]
    case, ranks = (torch.tensor(column) for column in zip(*pairs, strict=True))
    np.testing.assert_allclose(per_case(name, ranks, case, CASES, k), theirs[f"{name}@{k}"], atol=1e-12)
