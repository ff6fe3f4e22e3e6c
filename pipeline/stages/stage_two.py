"""Stages 11 to 12 (`eimf train`, `eimf evaluate`): a backbone trained against frozen artifacts, calibrated if the
preset or the settings say so, and its metrics."""

from dataclasses import dataclass

from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.stages.checkpoint import train_as_worker
from pipeline.stages.resolve import ResolvedTraining, prepare_and_resolve, resolve
from pipeline.stages.stage import find, find_or_build
from pipeline.training import processes

_MANY_REPEATS = 0.05
"""Share of test targets that the user had before: leaving such items out of the lists then shows in the metrics."""


@dataclass(frozen=True)
class Result:
    """One finished training with its metrics."""

    label: str
    checkpoint: Artifact
    calibration: Artifact | None
    metrics: Artifact

    @property
    def served(self) -> Artifact:
        """The model that was measured."""
        return self.calibration or self.checkpoint


def run_train(recipe: Recipe, store: Store, esim_key: str | None = None) -> Result:
    """Stages 11 to 12 against frozen artifacts."""
    store.remove_stale()
    training = _agreed(recipe, store, esim_key)
    origin = training.source or training.dataset
    info(f"{origin.manifest.kind} {origin.short} of {origin.manifest.created[:16]} is frozen; LLM requests: 0")
    _announce(training)
    checkpoint, _ = find_or_build(training.checkpoint, store, training.artifacts)
    result = _measured(training, checkpoint, store)
    processes.broadcast_stop()
    return result


def run_worker(recipe: Recipe, store: Store, esim_key: str | None = None) -> None:
    """What every process but the first does during `run_train`, if torchrun started several."""
    training = _agreed(recipe, store, esim_key)
    train_as_worker(training.job, training.artifacts, store.resume_dir(training.checkpoint_key))


def _agreed(recipe: Recipe, store: Store, esim_key: str | None) -> ResolvedTraining:
    """The training of a recipe, the same in every process. Raises ArtifactError if one of them lacks an artifact."""
    return processes.agree(lambda: prepare_and_resolve(recipe, store, esim_key), lambda found: found.checkpoint_key)


def run_evaluate(recipe: Recipe, store: Store, esim_key: str | None = None) -> Result:
    """Stages 11a and 12 of a finished training. Raises ArtifactError if the training is not finished."""
    store.remove_stale()
    training = prepare_and_resolve(recipe, store, esim_key)
    _announce(training)
    return _measured(training, _trained(training, store), store)


def find_trained(recipe: Recipe, store: Store, esim_key: str | None = None) -> Artifact:
    """The checkpoint of a finished training, or its calibration if the recipe asks for one. Only reads. Raises
    ArtifactError if it is not finished."""
    training = resolve(recipe, store, esim_key)
    checkpoint = _trained(training, store)
    if training.calibration is None:
        return checkpoint
    found = find(training.calibration, store, {**training.artifacts, "checkpoint": checkpoint})
    if found is None:
        raise ArtifactError(
            "calibration", "this training was not calibrated yet", "run `make train` with these settings"
        )
    return found


def _trained(training: ResolvedTraining, store: Store) -> Artifact:
    checkpoint = find(training.checkpoint, store, training.artifacts)
    if checkpoint is None:
        raise ArtifactError("checkpoint", "these settings were not trained yet", "run `make train` with them")
    return checkpoint


def _measured(training: ResolvedTraining, checkpoint: Artifact, store: Store) -> Result:
    artifacts, calibration = {**training.artifacts, "checkpoint": checkpoint}, None
    if training.calibration is not None:
        calibration, _ = find_or_build(training.calibration, store, artifacts)
        artifacts["calibration"] = calibration
    metrics, _ = find_or_build(training.metrics, store, artifacts)
    return Result(training.label, checkpoint, calibration, metrics)


def _announce(training: ResolvedTraining) -> None:
    """Print that many users come back to items that the lists leave out."""
    dataset = training.dataset
    share = dataset.summary_number("repeated_targets") / max(1, dataset.summary_number("test_targets"))
    if share > _MANY_REPEATS and not training.job.keep_seen:
        repeats = f"{share:.0%} of the test targets are items that the user had before; these are left out: misses"
        info(f"{repeats}; evaluate.keep_seen=true (--keep-seen) recommends and counts them too")
