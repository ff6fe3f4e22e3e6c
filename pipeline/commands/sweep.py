"""The command `sweep`: every trial of a plan, and its table."""

from pathlib import Path

from eimf.store.artifact import Store
from eimf.store.files import remove_stale_files, write_atomic
from pipeline.console import info
from pipeline.sweeps.plan import Plan, Recipes, Trial, prepare_plan, read_plan_as, trials_of
from pipeline.sweeps.results import TrialResult, current, read_results
from pipeline.sweeps.run import run_sweep
from pipeline.sweeps.table import format_tables, results_tables

_TABLE = "table.md"


def run_plan(path: Path, store: Store, folder: Path | None, workers: int) -> None:
    """Run every trial of the plan in the file `path`, and print the table of all that are finished. `folder`, by
    default named like the plan, has the results: see `run_trials`."""
    plan, folder = read_plan_as(path, Plan), folder or path.with_suffix("")
    trials = prepare_trials(plan, path.resolve().parent, store, folder)
    try:
        run_trials(plan, trials, store, folder, workers)
    finally:
        info()
        info((folder / _TABLE).read_text())


def prepare_trials(plan: Plan, recipes: Recipes, store: Store, folder: Path) -> list[Trial]:
    """Every trial of a plan, once what they train on is there. Prints the problems of results in `folder`."""
    store.remove_stale()
    remove_stale_files(folder)
    for problem in read_results(folder)[1]:
        info(problem)
    prepare_plan(plan, recipes, store)
    return trials_of(plan, recipes, store)


def run_trials(plan: Plan, trials: list[Trial], store: Store, folder: Path, workers: int) -> None:
    """Run every trial that has no result in `folder`, which at any time has the table of those that are finished.
    Results of other settings or of an earlier version stay in the file, but not in the table, until they are
    replaced."""

    def write_table() -> None:
        table = format_tables(results_tables(plan, finished_trials(trials, folder)))
        write_atomic(folder / _TABLE, table.encode())

    try:
        run_sweep(trials, store, folder, workers, write_table)
    finally:
        write_table()


def finished_trials(trials: list[Trial], folder: Path) -> list[TrialResult]:
    """The results of these trials that are in `folder`."""
    results = read_results(folder)[0]
    return [result for trial in trials if (result := current(results, trial))]
