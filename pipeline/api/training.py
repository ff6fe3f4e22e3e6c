"""Stage two: train a backbone, and measure it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import json as arrow_json

from eimf.store.artifact import Store
from pipeline.api.call import Settings, call, with_settings
from pipeline.api.datasets import Dataset
from pipeline.api.display import table_html, titled_html
from pipeline.api.interests import Interests
from pipeline.recipe import Draft
from pipeline.report.results import calibration_table, training_table
from pipeline.report.text import format_table
from pipeline.stages.stage_two import Result, run_evaluate, run_train
from pipeline.trained import dataset_of

if TYPE_CHECKING:
    from eimf.serving.recommend import Recommender


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained backbone with its metrics, in the store."""

    data: Dataset
    """With all settings of the training."""
    esim: str | None
    """Key of the interests that were given."""
    result: Result

    @property
    def key(self) -> str:
        """That of the checkpoint or, if it was calibrated, of the calibration."""
        return self.result.served.key

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.result.label

    @property
    def metrics(self) -> pa.Table:
        """`metric`, `k`, `slice`, `value`, and the number of `cases`, of the test events."""
        return self.result.metrics.table("metrics")

    @property
    def ranks(self) -> pa.Table:
        """The `rank` of each relevant item of each test case, 1 for the best. Any metric follows from it."""
        return self.result.metrics.table("ranks")

    @property
    def epochs(self) -> pa.Table:
        """Losses and the validation metric after each epoch."""
        return arrow_json.read_json(io.BytesIO(self.result.checkpoint.file("epochs.jsonl").read_bytes()))

    @cached_property
    def recommender(self) -> "Recommender":
        """The trained backbone as it is served; its first use loads torch."""
        from pipeline.serving import recommender_of

        return recommender_of(self.result.served, self.data.artifact)

    def __repr__(self) -> str:
        return f"Trained on {self.data.name!r}, key {self.key[:12]}\n{format_table(training_table([self.result]))}"

    def _repr_html_(self) -> str:
        tables = [training_table([self.result])]
        calibration = self.result.calibration
        if calibration is not None and calibration.summary_number("cases"):
            tables.append(calibration_table(calibration))
        return titled_html(f"Trained on {self.data.name!r}, key {self.key[:12]}", map(table_html, tables))


def fit(
    data: Dataset | Interests,
    *,
    backbone: str | None = None,
    preset: str | None = None,
    seed: int | None = None,
    keep_seen: bool | None = None,
    settings: Settings | None = None,
    progress: bool = True,
) -> Trained:
    """Train a backbone and measure it on the test events, unless the store has that training (stage two).

    The default `preset`, modern, and paper read what `infer_interests` returns; plain reads a dataset alone. An
    interrupted training resumes. Raises the errors of `eimf train`.

    >>> trained = api.fit(data, preset="plain", seed=1, settings={"train.lr": 4e-3})
    >>> trained.metrics.column_names
    ['metric', 'k', 'slice', 'value', 'cases']
    """
    with call("train", progress):
        dataset, esim = (data.data, data.key) if isinstance(data, Interests) else (data, None)
        keywords = {
            "model.backbone": backbone,
            "heads.preset": preset,
            "train.seed": seed,
            "evaluate.keep_seen": keep_seen,
        }
        draft = with_settings(dataset.draft, settings, keywords)
        return _trained(dataset.store, draft, esim, run_train(draft.recipe(), dataset.store, esim))


def evaluate(
    trained: Trained, *, cutoffs: Sequence[int] | None = None, settings: Settings | None = None, progress: bool = True
) -> Trained:
    """The same training, measured on the test events at other `cutoffs`, or with other settings of `evaluate`.

    Raises ArtifactError for settings that it was not trained with.

    >>> sorted(set(api.evaluate(plain, cutoffs=[1, 5]).metrics["k"].to_pylist()))
    [1, 5]
    """
    with call("evaluate", progress):
        data, esim = trained.data, trained.esim
        draft = with_settings(data.draft, settings, {"evaluate.cutoffs": cutoffs and list(cutoffs)})
        return _trained(data.store, draft, esim, run_evaluate(draft.recipe(), data.store, esim))


def _trained(store: Store, draft: Draft, esim: str | None, result: Result) -> Trained:
    return Trained(Dataset(store, draft, dataset_of(store, result.checkpoint)), esim, result)
