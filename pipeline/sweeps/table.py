"""The tables of a sweep: mean and spread over seeds, and paired differences over users."""

from collections.abc import Callable, Iterable

from eimf.statistics import mean
from pipeline.report.differences import Comparison, Differences, corrected
from pipeline.report.markdown import format_markdown
from pipeline.report.tables import Cell, SeedMeans, Table
from pipeline.sweeps.compare import Grid, compare, grids_of
from pipeline.sweeps.plan import Plan
from pipeline.sweeps.results import TrialResult


def results_tables(plan: Plan, results: Iterable[TrialResult]) -> list[Table]:
    """Two tables for each data set. First the test NDCG@10 / Recall@10 of every variant, with a row for each backbone.
    Then its differences to the baselines: for the mean over the seeds that both have of each user's NDCG@10, p adjusted
    by Holm within all differences of the plan to one baseline. It has a row for each difference if these are more than
    the backbones."""
    grids = grids_of(results)
    comparisons = [
        Comparison(dataset, backbone, variant, base)
        for dataset, grid in grids.items()
        for backbone in plan.backbones
        for variant, base in _pairs(_variants(plan, grid), plan.baselines)
    ]
    differences = corrected(compare(grids, comparisons) if comparisons else {})
    return [table for dataset, grid in grids.items() for table in _tables(plan, dataset, grid, differences)]


def _tables(plan: Plan, dataset: str, grid: Grid, differences: Differences) -> list[Table]:
    variants = _variants(plan, grid)
    backbones = [name for name in plan.backbones if any(name == backbone for backbone, _ in grid)]

    def table(columns: list[str], cell: Callable[[str, int], Cell]) -> Table:
        rows = [(name, tuple(cell(name, column) for column in range(len(columns)))) for name in backbones]
        return Table(dataset, tuple(columns), tuple(rows))

    means = table(
        variants, lambda backbone, column: _seed_means(grid.get((backbone, variants[column]), {}), plan.seeds)
    )
    pairs = _pairs(variants, plan.baselines)
    if not pairs:
        return [means]
    paired = table(
        [f"{name} minus {base}" for name, base in pairs],
        lambda backbone, column: differences.get(Comparison(dataset, backbone, *pairs[column])),
    )
    return [means, paired.transposed() if len(pairs) > len(backbones) else paired]


def format_tables(tables: list[Table]) -> str:
    """Markdown, a blank line between tables."""
    return "\n".join(map(format_markdown, tables))


def _variants(plan: Plan, grid: Grid) -> list[str]:
    """Those with a result, in the order of the plan."""
    return [name for name in plan.variants if any(name == variant for _, variant in grid)]


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
