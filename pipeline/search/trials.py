"""The finished trials of a search, one line of JSON for each. The same search has the same bytes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipeline.search.plan import Contender
from pipeline.sweeps.lines import Lines

FILE = "trials.jsonl"


class SearchTrial(BaseModel):
    """A finished trial of a contender."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    dataset: str
    backbone: str
    variant: str
    number: int
    """From 0, in the order of the proposals."""
    search: str
    """`Contender.search`: a trial of another one does not count."""
    optuna: str
    """The version that proposed it."""
    values: dict[str, Any]
    """Setting by setting."""
    state: Literal["complete", "pruned", "failed"]
    """failed: the recipe does not allow these values together, or the loss was not finite."""
    valid: list[float] = []
    """Validation NDCG@10 after each epoch."""
    value: float | None = None
    """What the search maximizes, of a complete trial: the best of `valid`, or that of the calibrated model."""
    checkpoint: str | None = None
    """Key of its training; only that of a complete trial is in the store."""
    reason: str | None = None
    """Of a failed one."""

    @property
    def name(self) -> str:
        return f"{self.dataset}.{self.backbone}.{self.variant}.{self.number}"

    @property
    def order(self) -> tuple[str, str, str, int]:
        return self.dataset, self.backbone, self.variant, self.number


_LINES = Lines(FILE, SearchTrial)


def read_trials(folder: Path) -> tuple[dict[str, SearchTrial], list[str]]:
    """The trials in a folder by their names, of any search, and the problems of the other lines."""
    return _LINES.read(folder)


def add_trials(folder: Path, new: Iterable[SearchTrial]) -> None:
    """Put trials into the file."""
    _LINES.add(folder, new)


def trials_of(contender: Contender, folder: Path) -> dict[int, SearchTrial]:
    """The finished trials of a contender by their numbers, as many as the plan asks for."""
    known = [trial for trial in read_trials(folder)[0].values() if trial.search == contender.search]
    return {
        trial.number: trial
        for trial in known
        if trial.name == f"{contender.name}.{trial.number}" and trial.number < contender.plan.search.trials
    }


def best_of(trials: Iterable[SearchTrial]) -> SearchTrial | None:
    """The complete trial with the highest value, the first of several; None if none is complete."""
    complete = [trial for trial in trials if trial.value is not None]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)
