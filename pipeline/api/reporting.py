"""Trainings on one page, to be forwarded."""

import os.path
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from eimf.store.artifact import Store
from pipeline.api.call import call, same_store
from pipeline.api.sweeps import Sweep
from pipeline.api.training import Trained
from pipeline.report.markup import tag


@dataclass(frozen=True)
class Report:
    """A page that needs nothing else."""

    path: Path

    def __repr__(self) -> str:
        return f"Report in {self.path}, {self.path.stat().st_size / 1e3:,.0f} kB"

    def _repr_html_(self) -> str:
        return str(tag("a", repr(self), href=quote(os.path.relpath(self.path))))


def report(
    source: Trained | Sequence[Trained] | Sweep | Store, output: Path | str = "report.html", *, progress: bool = True
) -> Report:
    """Write what was trained and how it compares to one HTML page: trainings, a sweep, or all that a store has.

    Raises the errors of `eimf report`.

    >>> api.report([plain, wide], folder / "report.html")
    Report in .../report.html, ... kB
    """
    with call("report", progress):
        from pipeline.commands.report import check_output, run_report, study_of_sweep, write_report

        path = Path(output)
        if isinstance(source, Sweep):
            check_output(path)
            study = study_of_sweep(source.plan, source.folder.name, source.folder, source.store)
            write_report(study, path, f"api.report(sweep, {path.name!r})")
        elif isinstance(source, Store):
            run_report(source, path)
        else:
            trainings = [source] if isinstance(source, Trained) else list(source)
            store = same_store([trained.data.store for trained in trainings])
            run_report(store, path, keys=[trained.key for trained in trainings])
        return Report(path)
