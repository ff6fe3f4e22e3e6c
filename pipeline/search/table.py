"""The table of a search: what each contender has tried, and what was best on the validation items."""

from pathlib import Path

from pipeline.report.tables import Cell, Number, Table
from pipeline.search.plan import Contender
from pipeline.search.space import settings_of
from pipeline.search.trials import SearchTrial, best_of, trials_of

_COLUMNS = ("trials", "pruned", "failed", "epochs", "best on validation", "its trial", "its settings", "Optuna")


def search_tables(contenders: list[Contender], folder: Path) -> list[Table]:
    """A table for each data set, with a row for each contender."""
    rows: dict[str, list[tuple[str, tuple[Cell, ...]]]] = {}
    for contender in contenders:
        trials = trials_of(contender, folder)
        name = f"{contender.backbone} {contender.variant}"
        rows.setdefault(contender.dataset, []).append((name, _cells(list(trials.values()))))
    return [Table(dataset, _COLUMNS, tuple(lines)) for dataset, lines in rows.items()]


def _cells(trials: list[SearchTrial]) -> tuple[Cell, ...]:
    best, states = best_of(trials), [trial.state for trial in trials]
    counts = (len(trials), states.count("pruned"), states.count("failed"), sum(len(trial.valid) for trial in trials))
    versions = ", ".join(sorted({trial.optuna for trial in trials}))
    found = (None, None, None) if best is None or best.value is None else _found(best, best.value)
    return (*map(str, counts), *found, versions)


def _found(best: SearchTrial, value: float) -> tuple[Cell, Cell, Cell]:
    return Number(value), str(best.number), " ".join(settings_of(best.values))
