"""Compare two trainings by any metric and slice, from their ranks of the same relevant items.

Shapes: C cases, R relevant items of all cases.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eimf.bootstrap import METHODS, SAMPLES, SEED, Interval, resampled_means, user_totals
from eimf.data.eval_cases import EvalCases
from eimf.evaluation.case_values import Metric, case_values
from eimf.evaluation.slices import Slices
from eimf.statistics import Difference, Mean, correct, mean, paired_t

Runs = Mapping[int, np.ndarray]
"""The ranks [R] of one training for each of its seeds."""


@dataclass(frozen=True)
class Bootstrap:
    """How the interval of a difference is found: `method` is one of `bootstrap.METHODS`."""

    samples: int = SAMPLES
    seed: int = SEED
    method: str = "bca"


@dataclass(frozen=True)
class Comparison:
    """One metric of one slice: its means over the `cases` of the slice, and their spread over seeds; the difference of
    the two with its test and interval, both over users, unless there are fewer than two. Without a case there are no
    means either."""

    metric: Metric
    slice: str
    cases: int
    base: Mean | None = None
    other: Mean | None = None
    difference: Difference | None = None
    interval: Interval | None = None

    @property
    def verdict(self) -> str:
        """`Difference.verdict`, or "too few users"."""
        return self.difference.verdict if self.difference else "too few users"


def compare_ranks(
    base: Runs,
    other: Runs,
    cases: EvalCases,
    slices: Slices,
    metrics: Iterable[Metric],
    names: Iterable[str],
    bootstrap: Bootstrap = Bootstrap(),
) -> list[Comparison]:
    """`other` - `base` for each of the `metrics` on each slice of `names`, each p by itself: see `corrected`.

    Each case counts with its mean over the seeds of a side, so the test and the interval are for these seeds:
    `Difference.by_seed` has the difference of each, if both sides have the same seeds. Raises SettingError for an
    unknown slice.
    """
    names = list(names)
    return [
        _compared(base, other, cases, slices.chosen(name), Comparison(metric, name, 0), bootstrap)
        for metric in metrics
        for name in names
    ]


def corrected(rows: Sequence[Comparison]) -> list[Comparison]:
    """The same, p adjusted by Holm for all of them together."""
    tests = iter(correct([row.difference for row in rows if row.difference is not None]))
    return [row if row.difference is None else replace(row, difference=next(tests)) for row in rows]


def _compared(
    base: Runs, other: Runs, cases: EvalCases, chosen: np.ndarray, row: Comparison, bootstrap: Bootstrap
) -> Comparison:
    """The `row`, so far without numbers, with those of the relevant items `chosen` [R] bool."""
    numbers = np.unique(cases.case[chosen])
    if not len(numbers):
        return row
    before, after = (
        {seed: case_values(ranks, cases.case, row.metric, chosen).values for seed, ranks in runs.items()}
        for runs in (base, other)
    )
    means = [mean([float(values.mean()) for values in runs.values()]) for runs in (before, after)]
    row = replace(row, cases=len(numbers), base=means[0], other=means[1])
    user_idx = cases.user_idx[numbers]
    return row if len(np.unique(user_idx)) < 2 else _tested(row, before, after, user_idx, bootstrap)


def _tested(row: Comparison, base: Runs, other: Runs, user_idx: np.ndarray, bootstrap: Bootstrap) -> Comparison:
    """The row with its test; `base` and `other` have values [C] by seed, of cases of `user_idx` [C]."""
    before, after = (np.mean(list(runs.values()), axis=0) for runs in (base, other))
    seeds = sorted(base) if base.keys() == other.keys() else []
    by_seed = tuple(float((other[seed] - base[seed]).mean()) for seed in seeds)
    totals = user_totals(after - before, user_idx)
    samples = resampled_means(totals, samples=bootstrap.samples, seed=bootstrap.seed)
    interval = METHODS[bootstrap.method](totals, samples)
    return replace(row, difference=replace(paired_t(before, after, user_idx), by_seed=by_seed), interval=interval)
