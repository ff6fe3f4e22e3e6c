"""Two variants of a sweep, side by side: a pair of trainings for each data set and backbone that has both."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from eimf.data.eval_cases import EvalCases
from eimf.errors import SettingError
from eimf.evaluation.slices import Slices
from eimf.store.artifact import Artifact, Store
from pipeline.console import info
from pipeline.ranked import METRICS, Pair, Side, pair_of_metrics
from pipeline.sweeps.compare import grids_of
from pipeline.sweeps.results import MAX_RANK, TrialResult, read_results

_Runs = dict[int, TrialResult]


def pairs_of_results(folder: Path, base: str, other: str, store: Store, esim: str | None = None) -> list[Pair]:
    """The variants `base` and `other` over the seeds that both have. If the store has the metrics of all of them, a
    pair is as `pair_of_metrics` makes it. Otherwise it is made from the results alone: these have ranks up to MAX_RANK
    and no users, so each case counts as a user, and there is no slice but that of everything. Raises SettingError if
    no data set and backbone has both variants."""
    if base == other:
        raise SettingError("compare", f"{base!r} is given twice", "give two variants")
    results, problems = read_results(folder)
    for problem in problems:
        info(problem)
    pairs = []
    for dataset, grid in grids_of(results.values()).items():
        for backbone in sorted({name for name, _ in grid}):
            first, second = (grid.get((backbone, variant), {}) for variant in (base, other))
            if seeds := sorted(first.keys() & second.keys()):
                runs = [{seed: side[seed] for seed in seeds} for side in (first, second)]
                pairs.append(_pair(f"{dataset} {backbone}", *runs, store=store, esim=esim))
    if not pairs:
        names = sorted({result.variant for result in results.values()})
        problem = f"{folder} has no data set and backbone with a seed of both {base!r} and {other!r}"
        raise SettingError("compare", problem, f"its variants are {', '.join(names) or 'none'}")
    return pairs


def _pair(label: str, base: _Runs, other: _Runs, *, store: Store, esim: str | None) -> Pair:
    stored = [_stored(runs.values(), store) for runs in (base, other)]
    if all(stored):
        return pair_of_metrics(store, *stored, label=label, esim=esim)
    runs = [*base.values(), *other.values()]
    case = runs[0].target_cases()
    if any(not np.array_equal(run.target_cases(), case) for run in runs):
        problem = f"{runs[0].name} and {runs[-1].name} have other test cases"
        raise SettingError("compare", problem, "compare variants of one data set and one split")
    sides = (Side(next(iter(side.values())).variant, _ranks(side)) for side in (base, other))
    return Pair(label, *sides, _cases_of(case), Slices({}, len(case)), MAX_RANK)


def _stored(runs: Iterable[TrialResult], store: Store) -> list[Artifact]:
    """The metrics of all these runs, or none."""
    metrics = [store.find(METRICS, run.key) for run in runs]
    return [run for run in metrics if run is not None] if all(metrics) else []


def _ranks(runs: _Runs) -> dict[int, np.ndarray]:
    return {seed: run.target_ranks() for seed, run in runs.items()}


def _cases_of(case: np.ndarray) -> EvalCases:
    """Cases of which nothing is known but which relevant items [R] belong to the same one."""
    sizes = np.bincount(case)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return EvalCases(np.arange(len(sizes)), np.ones(len(sizes), np.int64), offsets, np.arange(1, len(case) + 1))
