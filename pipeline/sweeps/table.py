"""The tables of a sweep: mean and spread over seeds, and paired differences over users."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pipeline.report.markdown import format_markdown
from pipeline.report.tables import Cell, Difference, SeedMeans, Table, difference, mean
from pipeline.sweeps.plan import Plan
from pipeline.sweeps.results import TrialResult

if TYPE_CHECKING:
    from torch import Tensor

Grid = dict[tuple[str, str], dict[int, TrialResult]]
"""Results of one data set by backbone and variant, and by seed."""
_FAILED = " (gain test failed)"


def results_tables(plan: Plan, results: Iterable[TrialResult]) -> list[Table]:
    """Two tables for each data set, with a row for each backbone. First the test NDCG@10 / Recall@10 of every variant.
    Then its differences to the baselines: for the mean over the seeds that both have of each user's NDCG@10.

    A variant whose interests the gain test left out says so.
    """
    datasets: dict[str, Grid] = {}
    for result in results:
        grid = datasets.setdefault(result.dataset, {})
        grid.setdefault((result.backbone, result.variant), {})[result.seed] = result
    return [table for dataset in sorted(datasets) for table in _tables(plan, dataset, datasets[dataset])]


def _tables(plan: Plan, dataset: str, grid: Grid) -> list[Table]:
    variants = [name for name in plan.variants if any(name == variant for _, variant in grid)]
    backbones = [name for name in plan.backbones if any(name == backbone for backbone, _ in grid)]
    failing = {variant for (_, variant), runs in grid.items() if any(run.fails_gain_test for run in runs.values())}

    def table(columns: list[str], cell: Callable[[str, int], Cell]) -> Table:
        rows = [(name, tuple(cell(name, column) for column in range(len(columns)))) for name in backbones]
        return Table(dataset, tuple(columns), tuple(rows))

    means = table(
        [name + _FAILED * (name in failing) for name in variants],
        lambda backbone, column: _seed_means(grid.get((backbone, variants[column]), {}), plan.seeds),
    )
    pairs = _pairs(variants, plan.baselines)
    if not pairs:
        return [means]
    ndcg = {key: {seed: _ndcg(run) for seed, run in runs.items()} for key, runs in grid.items()}

    def compare(backbone: str, column: int) -> Difference | None:
        other, base = (ndcg.get((backbone, name), {}) for name in pairs[column])
        return _difference(base, other)

    return [means, table([f"{name} minus {base}" for name, base in pairs], compare)]


def format_tables(tables: list[Table]) -> str:
    """Markdown, a blank line between tables."""
    return "\n".join(map(format_markdown, tables))


def _pairs(variants: list[str], baselines: list[str]) -> list[tuple[str, str]]:
    """Every variant with each baseline; two baselines are compared once."""
    pairs: list[tuple[str, str]] = []
    for base in baselines:
        if base in variants:
            pairs += [(name, base) for name in variants if name != base and (base, name) not in pairs]
    return pairs


def _seed_means(runs: dict[int, TrialResult], seeds: list[int]) -> SeedMeans | None:
    if not runs:
        return None
    ndcg, recall = (mean([run.summary[f"{name}@10"] for run in runs.values()]) for name in ("ndcg", "recall"))
    return SeedMeans(ndcg, recall, tuple(sorted(runs)), len(runs) == len(seeds))


def _difference(base: "dict[int, Tensor]", other: "dict[int, Tensor]") -> Difference | None:
    """Other minus base, NDCG@10 of every user [U] by seed, over the seeds that both have."""
    import torch

    seeds = sorted(base.keys() & other.keys())
    if not seeds:
        return None
    return difference(*(torch.stack([values[seed] for seed in seeds]).mean(dim=0) for values in (base, other)))


def _ndcg(result: TrialResult) -> "Tensor":
    """NDCG@10 of every case."""
    import torch

    from eimf.metrics import per_case

    ranks, case = (torch.from_numpy(values) for values in (result.target_ranks(), result.target_cases()))
    return per_case("ndcg", ranks, case, result.cases, 10)
