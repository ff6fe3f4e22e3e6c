"""The command `sweep`: every trial of a plan, and its table."""

from pathlib import Path

from eimf.store.artifact import Store
from eimf.store.files import remove_stale_files, write_atomic
from pipeline.console import info
from pipeline.sweeps.plan import Plan, prepare_plan, read_plan_as, trials_of
from pipeline.sweeps.results import current, read_results
from pipeline.sweeps.run import run_sweep
from pipeline.sweeps.table import format_tables, results_tables


def run_plan(path: Path, store: Store, folder: Path | None, workers: int) -> None:
    """Run every trial of a plan, and print the table of all that are finished.

    `folder`, by default named like the plan, has the results, and at any time the table of those that are finished.
    Results of other settings or of an earlier version stay in the file, but not in the table, until they are replaced.
    """
    plan = read_plan_as(path, Plan)
    folder = folder or path.with_suffix("")
    store.remove_stale()
    remove_stale_files(folder)
    for problem in read_results(folder)[1]:
        info(problem)
    prepare_plan(plan, path.resolve().parent, store)
    trials = trials_of(plan, path.resolve().parent, store)

    def write_table() -> str:
        results = read_results(folder)[0]
        finished = [result for trial in trials if (result := current(results, trial))]
        table = format_tables(results_tables(plan, finished))
        write_atomic(folder / "table.md", table.encode())
        return table

    try:
        run_sweep(trials, store, folder, workers, write_table)
    finally:
        table = write_table()
        info()
        info(table)
