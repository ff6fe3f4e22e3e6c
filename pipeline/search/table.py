"""The table of a search: what each contender has tried, and what was best on the validation items."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.report.tables import Cell, Number, Table
from pipeline.search.plan import Contender
from pipeline.search.space import settings_of
from pipeline.search.trials import SearchTrial, best_of, read_trials, trials_of
from pipeline.sweeps.results import TrialResult

_COLUMNS = ("trials", "pruned", "failed", "epochs", "best on validation", "its trial", "its settings", "Optuna")


def search_tables(contenders: list[Contender], folder: Path) -> list[Table]:
    """A table for each data set, with a row for each contender."""
    return _tables(
        (contender.dataset, f"{contender.backbone} {contender.variant}", list(trials_of(contender, folder).values()))
        for contender in contenders
    )


def tables_of_winners(winners: Iterable[TrialResult], folder: Path) -> list[Table]:
    """The same without a plan: of the searches in a folder that found these results; none if a sweep did."""
    trials = list(read_trials(folder)[0].values())
    searches = {trial.checkpoint: trial.search for trial in trials if trial.state == "complete"}
    contenders = []
    for winner in winners:
        if (search := searches.get(winner.checkpoint)) is not None:
            tried = [trial for trial in trials if (trial.order[:3], trial.search) == (winner.order[:3], search)]
            contenders.append((winner.dataset, f"{winner.backbone} {winner.variant}", tried))
    return _tables(contenders)


def _tables(contenders: Iterable[tuple[str, str, list[SearchTrial]]]) -> list[Table]:
    """Data set, name and trials of each contender as tables."""
    rows: dict[str, list[tuple[str, tuple[Cell, ...]]]] = {}
    for dataset, name, trials in contenders:
        rows.setdefault(dataset, []).append((name, _cells(trials)))
    return [Table(dataset, _COLUMNS, tuple(lines)) for dataset, lines in rows.items()]


def _cells(trials: list[SearchTrial]) -> tuple[Cell, ...]:
    best, states = best_of(trials), [trial.state for trial in trials]
    counts = (len(trials), states.count("pruned"), states.count("failed"), sum(len(trial.valid) for trial in trials))
    versions = ", ".join(sorted({trial.optuna for trial in trials}))
    found = (None, None, None) if best is None or best.value is None else _found(best, best.value)
    return (*map(str, counts), *found, versions)


def _found(best: SearchTrial, value: float) -> tuple[Cell, Cell, Cell]:
    return Number(value), str(best.number), " ".join(settings_of(best.values))
