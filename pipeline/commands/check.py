"""The command `check`: do the LLM's interests tell anything that is not known without them? No training."""

from collections.abc import Sequence

from eimf.config import CalibrateSettings, HeadSettings
from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from pipeline.recipe import Recipe
from pipeline.report.signal_check import show_signal_check
from pipeline.stages.resolve import stage_two_artifacts
from pipeline.stages.signal_check import run_signal_check
from pipeline.stages.vector_file import vector_file


def run_check(
    recipe: Recipe,
    store: Store,
    esim_key: str | None = None,
    checkpoint_key: str | None = None,
    vectors: Sequence[str] = (),
) -> None:
    """Print what the LLM's interests and their controls add to popularity, co-occurrence and texts, and to the score of
    the checkpoint `checkpoint_key` if it is given; and the same of `vectors`, each NAME=FILE."""
    store.remove_stale()
    files = [vector_file(text) for text in vectors]
    with_interests = recipe.model_copy(update={"heads": HeadSettings(), "calibrate": CalibrateSettings()})
    artifacts = stage_two_artifacts(with_interests, store, esim_key)
    if checkpoint_key is not None:
        artifacts["checkpoint"] = _of_dataset(store.get("checkpoint", checkpoint_key), artifacts["dataset"])
    show_signal_check(run_signal_check(store, artifacts, recipe.runtime, files))


def _of_dataset(checkpoint: Artifact, dataset: Artifact) -> Artifact:
    """Raises ArtifactError for a checkpoint of another dataset."""
    if checkpoint.parent("dataset") != dataset.key:
        problem = (
            f"{checkpoint.short} was trained on dataset {checkpoint.parent('dataset')[:12]}, this is {dataset.short}"
        )
        raise ArtifactError("checkpoint", problem, "give a checkpoint of this dataset, or the recipe of that one")
    return checkpoint
