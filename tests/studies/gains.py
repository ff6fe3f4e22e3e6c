"""One table over plans: the gain of a variant over the plain backbone, over texts, and over each of its controls."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from eimf.statistics import Difference, mean
from pipeline.report.differences import Comparison, Differences, corrected
from pipeline.report.tables import Cell, Gain, Number, Table
from pipeline.sweeps.compare import Grid, compare, grids_of
from pipeline.sweeps.plan import Plan
from pipeline.sweeps.results import TrialResult

PLAIN = "plain"
BASELINES = (PLAIN, "text", "shuffled", "titles", "random", "cluster")
"""What a variant is compared with, if a plan has it."""
MEAN = "mean of backbones"
ALL = "all, leave-one-out"
_PROTOCOL = "split.protocol="


def gains_table(variant: str, studies: Sequence[tuple[Plan, Sequence[TrialResult]]]) -> Table:
    """A row for each data set and backbone in the order of the plans, and for the mean of several backbones: each
    user's NDCG@10 averaged over all trainings. Columns: NDCG@10 of the plain backbone, and the gain of `variant` over
    each baseline that any plan has, as a share of that baseline.

    A family of Holm's correction is a column: all gains over one baseline; the rows of means are another family. A
    training that is missing leaves its cells empty. If several data sets have a mean, a last row pools these: the mean
    of their relative gains, each weighted by the inverse of its squared error, under the usual protocol only, since
    otherwise the same users would count twice. Raises ValueError if two plans have the same row.
    """
    differences: Differences = {}
    plain: dict[tuple[str, str], Cell] = {}
    for plan, results in studies:
        grids = {_label(dataset, plan): grid for dataset, grid in grids_of(results).items()}
        for label, grid in grids.items():
            rows = [(label, name) for name in plan.backbones if any(name == backbone for backbone, _ in grid)]
            if twice := next((row for row in rows if row in plain), None):
                raise ValueError(f"two plans have results of {', '.join(twice)}; leave one of them out")
            plain |= {row: _ndcg(grid, row[1]) for row in rows}
            differences |= _gains(grids, rows, variant)
            if len(rows) > 1:
                means = _gains({label: _mean_of_backbones(grid)}, [(label, MEAN)], variant)
                plain[label, MEAN] = _base_of(means)
                differences |= {key: _without_seeds(cell) for key, cell in means.items()}
    usual = {
        _label(dataset, plan) for plan, results in studies for dataset in grids_of(results) if not _protocols(plan)
    }
    differences = corrected(
        differences | _pooled(differences, variant, usual),
        lambda comparison: (comparison.base, comparison.backbone == MEAN, comparison.dataset == ALL),
    )
    if any(comparison.dataset == ALL for comparison in differences):
        plain[ALL, MEAN] = None
    baselines = [base for base in BASELINES if any(comparison.base == base for comparison in differences)]

    def gain(row: tuple[str, str], base: str) -> Cell:
        cell = differences.get(Comparison(*row, variant, base))
        return Gain(cell) if isinstance(cell, Difference) else cell

    return Table(
        f"gain of {variant}",
        ("plain, NDCG@10", *(f"over {base}" for base in baselines)),
        tuple((", ".join(row), (plain[row], *(gain(row, base) for base in baselines))) for row in plain),
    )


def _label(dataset: str, plan: Plan) -> str:
    """The data set, and the protocol if it is not the usual one."""
    return ", ".join([dataset, *_protocols(plan)])


def _protocols(plan: Plan) -> list[str]:
    return [setting.removeprefix(_PROTOCOL) for setting in plan.settings if setting.startswith(_PROTOCOL)]


def _pooled(differences: Differences, variant: str, labels: set[str]) -> Differences:
    """The gain of the means over each baseline, pooled over the data sets `labels` if several have it (fixed effects).
    The error of a relative gain is that of its difference; that of its baseline is left out."""
    result: Differences = {}
    for base in BASELINES:
        found = [
            gain
            for comparison, gain in differences.items()
            if comparison.backbone == MEAN and comparison.base == base and comparison.dataset in labels
            and isinstance(gain, Difference) and gain.error > 0
        ]  # fmt: skip
        if len(found) < 2:
            continue
        weights = [(gain.base / gain.error) ** 2 for gain in found]
        value = sum(weight * gain.relative for weight, gain in zip(weights, found, strict=True)) / sum(weights)
        error = sum(weights) ** -0.5
        p = math.erfc(abs(value) / error / math.sqrt(2))
        pooled = Difference(value, error, p, sum(gain.n for gain in found), base=1.0)
        result[Comparison(ALL, MEAN, variant, base)] = pooled
    return result


def _gains(grids: Mapping[str, Grid], rows: Iterable[tuple[str, str]], variant: str) -> Differences:
    return compare(grids, [Comparison(*row, variant, base) for row in rows for base in BASELINES])


def _mean_of_backbones(grid: Grid) -> Grid:
    """The trainings of all backbones as if they were seeds of one."""
    pairs = sorted({(backbone, seed) for (backbone, _), runs in grid.items() for seed in runs})
    number = {pair: index for index, pair in enumerate(pairs)}
    result: Grid = {}
    for (backbone, variant), runs in grid.items():
        result.setdefault((MEAN, variant), {}).update({number[backbone, seed]: run for seed, run in runs.items()})
    return result


def _without_seeds(cell: Difference | str) -> Difference | str:
    return replace(cell, by_seed=()) if isinstance(cell, Difference) else cell


def _ndcg(grid: Grid, backbone: str) -> Cell:
    """NDCG@10 of the plain backbone over its seeds."""
    runs = grid.get((backbone, PLAIN), {})
    return mean([run.summary["ndcg@10"] for run in runs.values()]) if runs else None


def _base_of(gains: Differences) -> Cell:
    """NDCG@10 of the plain backbones that the gain over plain is from."""
    found = [
        gain.base for comparison, gain in gains.items() if comparison.base == PLAIN and isinstance(gain, Difference)
    ]
    return Number(found[0]) if found else None
