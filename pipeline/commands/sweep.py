"""The command `sweep`: every run of a plan, and its table."""

from pathlib import Path

from eimf.store.artifact import Store
from eimf.store.files import remove_stale_files, write_atomic
from pipeline.console import info
from pipeline.sweeps.plan import read_plan, tasks_of
from pipeline.sweeps.run import run_sweep
from pipeline.sweeps.table import comparison


def run_plan(path: Path, store: Store, results: Path | None, workers: int) -> None:
    """Every run of a plan, and the table of all that is finished; `results`/table.md, by default in a folder named like
    the plan, holds it at any time."""
    plan = read_plan(path)
    results = results or path.with_suffix("")
    store.remove_stale()
    remove_stale_files(results)
    tasks = tasks_of(plan, path.resolve().parent, store)

    def keep_table() -> str:
        table = comparison(plan, tasks, results)
        write_atomic(results / "table.md", table.encode())
        return table

    try:
        run_sweep(tasks, store, results, workers, keep_table)
    finally:
        table = keep_table()
        info()
        info(table)
