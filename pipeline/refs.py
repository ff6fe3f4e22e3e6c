"""Which artifacts a recipe's stage-one settings led to: what lets a training node start without raw data or models.

A ref is filed under the digest of the settings as written, so the same recipe finds it on another machine.
"""

import json
from typing import Any

from eimf.errors import ArtifactError
from eimf.store import keys
from eimf.store.artifact import Artifact, Store, write_atomic
from pipeline.recipe import Recipe

_DATASET = ("dataset", "text")
_ESIM = (*_DATASET, "encoder", "cluster", "typical", "prompt", "llm")


def _settings(recipe: Recipe, sections: tuple[str, ...]) -> dict[str, Any]:
    values = recipe.model_dump(mode="json", include=set(sections))
    if "llm" in values and values["llm"]["backend"] == "replay":
        values["llm"]["backend"] = "vllm"
    return values


def save_ref(store: Store, recipe: Recipe, artifact: Artifact) -> None:
    """Note that these settings led to `artifact`, a `dataset` or an `esim`."""
    sections = _ESIM if artifact.manifest.kind == "esim" else _DATASET
    content = {"key": artifact.key, "settings": _settings(recipe, sections)}
    path = store.root / "refs" / artifact.manifest.kind / f"{keys.digest(content['settings'])}.json"
    write_atomic(path, json.dumps(content, indent=1, sort_keys=True).encode())


def _read_ref(store: Store, recipe: Recipe, kind: str) -> Artifact | None:
    settings = _settings(recipe, _ESIM if kind == "esim" else _DATASET)
    path = store.root / "refs" / kind / f"{keys.digest(settings)}.json"
    return store.find(kind, json.loads(path.read_text())["key"]) if path.is_file() else None


def stage_two_inputs(store: Store, recipe: Recipe, esim_key: str | None) -> dict[str, Artifact]:
    """The `dataset` artifact, and with heads at work or `esim_key` given the `esim` artifact too.

    Raises ArtifactError where the store does not hold them, or where the given artifact is of another dataset.
    """
    dataset = _read_ref(store, recipe, "dataset")
    if esim_key is None and recipe.heads.plain:
        return {"dataset": dataset or _missing(store, "dataset")}
    esim = store.get("esim", esim_key) if esim_key else _read_ref(store, recipe, "esim") or _missing(store, "esim")
    own = store.find("dataset", esim.manifest.parents["dataset"])
    if dataset is not None and esim.manifest.parents["dataset"] != dataset.key:
        found = f"{esim.short} was made from dataset {esim.manifest.parents['dataset'][:12]}"
        found += f", this recipe's is {dataset.short}"
        raise ArtifactError("esim", found, "give an artifact of this dataset, or the recipe of that one")
    if own is None:
        raise ArtifactError(
            "dataset",
            f"{esim.manifest.parents['dataset'][:12]} is not in {store.root}",
            "copy it beside its esim artifact",
        )
    return {"dataset": own, "esim": esim}


def _missing(store: Store, kind: str) -> Artifact:
    found = f"{store.root} holds none for this recipe's stage-one settings"
    raise ArtifactError(
        kind,
        found,
        "run `make esim` with the same recipe and settings, or copy the store from where that was done",
    )
