"""The artifacts that hold a trained backbone: a checkpoint, or a calibration of one."""

from typing import Any

from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store

CHECKPOINT, CALIBRATION = KINDS = ("checkpoint", "calibration")
"""The artifacts that hold a trained backbone: as it is, and calibrated."""


def find_model(store: Store, key: str) -> Artifact:
    """The checkpoint or calibration of this `key`, which may be shortened. Raises ArtifactError if none or several
    match."""
    kinds = [kind for kind, name in store.listing() if kind in KINDS and name.startswith(key)]
    if len(kinds) > 1:
        problem = f"{len(kinds)} checkpoints and calibrations begin with {key[:100]!r} in {store.address}"
        raise ArtifactError(CHECKPOINT, problem, "give more digits of the key; `eimf status` prints it")
    return store.get(kinds[0] if kinds else CHECKPOINT, key)


def training_of(store: Store, model: Artifact) -> Artifact:
    """The checkpoint behind a `model`: itself, or the one that was calibrated. Raises ArtifactError."""
    return model if model.manifest.kind == CHECKPOINT else store.parent(model, CHECKPOINT)


def dataset_of(store: Store, model: Artifact) -> Artifact:
    """The dataset that a `model` was trained on. Raises ArtifactError."""
    return store.parent(model if "dataset" in model.manifest.parents else training_of(store, model), "dataset")


def training_configuration(model: Artifact) -> dict[str, Any]:
    """The configuration of the training of a checkpoint or calibration. Raises ArtifactError if there is none."""
    configuration: Any = model.manifest.configuration
    if model.manifest.kind == CALIBRATION:
        configuration = configuration.get("trained")
    if not isinstance(configuration, dict):
        raise model.damaged("its manifest does not tell configuration.trained")
    return dict(configuration)
