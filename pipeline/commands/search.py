"""The command `search`: the trials of every contender, then the winners on the test items."""

from pathlib import Path

from eimf.store.artifact import Store
from eimf.store.files import remove_stale_files, write_atomic
from pipeline.console import info
from pipeline.search.plan import contenders_of, prepared, read_search_plan
from pipeline.search.proposals import version
from pipeline.search.run import problems_of, run_search, winners_of
from pipeline.search.table import search_tables
from pipeline.sweeps.plan import Trial
from pipeline.sweeps.results import current, read_results
from pipeline.sweeps.run import run_sweep
from pipeline.sweeps.table import format_tables, results_tables


def run_plan(path: Path, store: Store, folder: Path | None, workers: int) -> None:
    """Run every trial of a search, measure the winners, and print the tables.

    Test items are ranked only after the last trial of the last contender. `folder`, by default named like the plan, has
    the trials, the results of the winners, and at any time the tables of what is finished.
    """
    version()  # or the error that says how to install it
    plan = read_search_plan(path)
    folder = folder or path.with_suffix("")
    contenders = contenders_of(plan, path.resolve().parent)
    store.remove_stale()
    remove_stale_files(folder)
    for problem in [*problems_of(folder), *read_results(folder)[1]]:
        info(problem)
    contenders = prepared(contenders, store)
    winners: list[Trial] = []

    def write_table() -> str:
        results = read_results(folder)[0]
        finished = [result for trial in winners if (result := current(results, trial))]
        table = format_tables([*results_tables(plan, finished), *search_tables(contenders, folder)])
        write_atomic(folder / "table.md", table.encode())
        return table

    try:
        run_search(contenders, store, folder, workers, write_table)
        winners += winners_of(contenders, folder, store)
        info("the best trial of each contender is measured on the test items")
        run_sweep(winners, store, folder, workers, write_table)
    finally:
        table = write_table()
        info()
        info(table)
