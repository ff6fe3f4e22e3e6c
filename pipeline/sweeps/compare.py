"""Paired comparisons of the trainings of a plan: NDCG@10 of the same users, over the seeds that both have."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from eimf.statistics import Difference, correct, difference_over_seeds
from pipeline.sweeps.results import TrialResult

Grid = dict[tuple[str, str], dict[int, TrialResult]]
"""Results of one data set by backbone and variant, and by seed."""


@dataclass(frozen=True)
class Comparison:
    """A variant minus a baseline, of one data set and backbone."""

    dataset: str
    backbone: str
    variant: str
    base: str


Differences = dict[Comparison, Difference | str]
"""The difference of each comparison, or in words why there is none."""


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
            differences[comparison] = _difference(base, other)
    return differences


def corrected(differences: Differences, family_of: Callable[[Comparison], Hashable]) -> Differences:
    """The same, p adjusted by Holm within each family."""
    families: dict[Hashable, dict[Comparison, Difference]] = {}
    for comparison, difference in differences.items():
        if isinstance(difference, Difference):
            families.setdefault(family_of(comparison), {})[comparison] = difference
    result = dict(differences)
    for family in families.values():
        result |= zip(family, correct(list(family.values())), strict=True)
    return result


def _difference(base: dict[int, np.ndarray], other: dict[int, np.ndarray]) -> Difference | str:
    """As `difference_over_seeds`, of which at least one seed is in both."""
    sizes = sorted({len(values[seed]) for seed in base.keys() & other.keys() for values in (base, other)})
    if len(sizes) > 1:
        return f"not the same users: {sizes[0]:,} and {sizes[-1]:,}"
    if sizes == [1]:
        return "one user"
    return difference_over_seeds(base, other)


def _ndcg(result: TrialResult) -> np.ndarray:
    """NDCG@10 of every case."""
    import torch

    from eimf.metrics import per_case

    ranks, case = (torch.from_numpy(values) for values in (result.target_ranks(), result.target_cases()))
    return per_case("ndcg", ranks, case, result.cases, 10).numpy()
