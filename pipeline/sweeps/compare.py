"""Paired comparisons of the trainings of a plan: NDCG@10 of the same users, over the seeds that both have."""

from collections.abc import Iterable, Mapping

import numpy as np

from pipeline.report.differences import Comparison, Differences, seeds_difference
from pipeline.sweeps.results import TrialResult

Grid = dict[tuple[str, str], dict[int, TrialResult]]
"""Results of one data set by backbone and variant, and by seed."""


def grids_of(results: Iterable[TrialResult]) -> dict[str, Grid]:
    """Results by data set, in alphabetical order."""
    grids: dict[str, Grid] = {}
    for result in results:
        grid = grids.setdefault(result.dataset, {})
        grid.setdefault((result.backbone, result.variant), {})[result.seed] = result
    return {dataset: grids[dataset] for dataset in sorted(grids)}


def compare(grids: Mapping[str, Grid], comparisons: Iterable[Comparison]) -> Differences:
    """The differences of those comparisons of which a seed of both is finished, each p by itself."""
    ndcg = {
        (dataset, *key): {seed: _ndcg(run) for seed, run in runs.items()}
        for dataset, grid in grids.items()
        for key, runs in grid.items()
    }
    differences: Differences = {}
    for comparison in comparisons:
        names = (comparison.base, comparison.variant)
        base, other = (ndcg.get((comparison.dataset, comparison.backbone, name), {}) for name in names)
        if base.keys() & other.keys():
            differences[comparison] = seeds_difference(base, other)
    return differences


def _ndcg(result: TrialResult) -> np.ndarray:
    """NDCG@10 of every case."""
    import torch

    from eimf.metrics import per_case

    ranks, case = (torch.from_numpy(values) for values in (result.target_ranks(), result.target_cases()))
    return per_case("ndcg", ranks, case, result.cases, 10).numpy()
