"""What a report is about: trainings with their results, wherever these come from."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from eimf.errors import ArtifactError, UserError
from eimf.evaluation.case_values import Metric, case_values
from eimf.store.artifact import Artifact, Store
from pipeline.report.tables import Table

NDCG, RECALL = Metric("ndcg", 10), Metric("recall", 10)


@dataclass(frozen=True)
class Ranks:
    """`rank` [R] of every relevant item, r being one of `case` [R]."""

    rank: np.ndarray
    case: np.ndarray


@dataclass(frozen=True)
class Run:
    """One training with its test results. `dataset` and `variant` are names to show. The artifacts are None if the
    store lacks them."""

    dataset: str
    backbone: str
    variant: str
    seed: int
    summary: Mapping[str, float]
    """`ndcg@10`, `recall@10`, and perhaps `valid_ndcg@10`, `best_epoch`, `epochs`, `seconds`."""
    read: Callable[[], Ranks] = field(repr=False, compare=False)
    metrics: Artifact | None = None
    checkpoint: Artifact | None = None
    calibration: Artifact | None = None

    @property
    def name(self) -> str:
        """Of the run among all of the report."""
        return f"{self.dataset}, {self.model}, seed {self.seed}"

    @property
    def model(self) -> str:
        """What was trained, the seed left out."""
        return f"{self.backbone} {self.variant}"

    @cached_property
    def ranks(self) -> Ranks:
        """Read once. Raises UserError."""
        return self.read()

    @cached_property
    def ndcg(self) -> np.ndarray:
        """NDCG@10 of every case. Raises UserError."""
        return case_values(self.ranks.rank, self.ranks.case, NDCG).values


Group = dict[int, Run]
"""The runs of one model by seed."""


@dataclass(frozen=True)
class Study:
    """The trainings of a report. `pairs`: which variants are compared, (variant, baseline); `settings` of each variant
    as they are written; `datasets` in the store by name; `left_out`: in words what is not in the report, and why;
    `searched`: what a search has tried to find these trainings, a table for each data set."""

    title: str
    about: str
    runs: tuple[Run, ...]
    pairs: tuple[tuple[str, str], ...]
    store: Store | None
    datasets: Mapping[str, Artifact]
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    searched: tuple[Table, ...] = ()

    def is_control(self, variant: str) -> bool:
        """Whether a variant has a control in the place of the LLM's interests."""
        return any(name.startswith("heads.control=") for name in self.settings.get(variant, ()))

    @property
    def names(self) -> list[str]:
        """The datasets of the runs, in order."""
        return list(dict.fromkeys(run.dataset for run in self.runs))

    def esim(self, dataset: str) -> Artifact | None:
        """The ESIM artifact that most trainings on a dataset read, or else the newest in the store; None without."""
        if self.store is None or dataset not in self.datasets:
            return None
        models = [run.calibration or run.checkpoint for run in self.runs if run.dataset == dataset]
        read = Counter(key for model in models if model is not None and (key := model.manifest.parents.get("esim")))
        for key, _ in read.most_common():
            if (found := self.store.find("esim", key)) is not None:
                return found
        every = [self.store.find(kind, key) for kind, key in self.store.listing() if kind == "esim"]
        own = [of for of in every if of is not None and of.parent("dataset") == self.datasets[dataset].key]
        return max(own, key=lambda of: of.manifest.created, default=None)

    def groups(self, dataset: str) -> dict[tuple[str, str], Group]:
        """The runs of a dataset by backbone and variant, and by seed."""
        groups: dict[tuple[str, str], Group] = {}
        for run in self.runs:
            if run.dataset == dataset:
                groups.setdefault((run.backbone, run.variant), {})[run.seed] = run
        return groups


def usable(runs: list[Run]) -> tuple[list[Run], list[str]]:
    """The runs with results that can be shown and tested, and in words why the others cannot."""
    good, problems = [], []
    for run in runs:
        try:
            _check(run)
            good.append(run)
        except UserError as error:
            problems.append(f"{run.name}: {error}")
    return good, problems


def _check(run: Run) -> None:
    """Raises ArtifactError for a metric that is not a number, and UserError for ranks that are missing or damaged."""
    for metric in (NDCG, RECALL):
        value = run.summary.get(str(metric))
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ArtifactError(str(metric), f"it is {value!r}, not a number", "measure again: `eimf evaluate`")
    ranks = run.ranks
    if not len(ranks.rank) or ranks.rank.min() < 1:
        raise ArtifactError("ranks", "there is none, or one is below 1", "measure again: `eimf evaluate`")
