"""The `esim` artifact that a recipe extends (`extend.base`), with the artifacts that it was built from."""

from eimf.config import ExtendSettings
from eimf.errors import SettingError
from eimf.store.artifact import Artifact, Store
from eimf.store.manifest import EXTENDED
from pipeline.recipe import Recipe


def as_extended(recipe: Recipe, store: Store, esim_key: str | None) -> Recipe:
    """The recipe that made the `esim` artifact with this key, if that extends another one; otherwise the recipe as it
    is. Raises ArtifactError."""
    if esim_key is None or recipe.extend.enabled:
        return recipe
    base = store.get("esim", esim_key).manifest.parents.get(f"{EXTENDED}esim")
    return recipe if base is None else recipe.model_copy(update={"extend": ExtendSettings(base=base)})


def base_artifacts(recipe: Recipe, store: Store) -> dict[str, Artifact]:
    """The artifacts that the stages of an extension read, by `base_` and their kind; none if nothing is extended.
    Raises ArtifactError if the store lacks one, and SettingError for a protocol that cannot continue."""
    if recipe.extend.base is None:
        return {}
    if recipe.split.protocol == "user-split":
        problem = (
            "user-split draws held-out users from all users, so an extension would train on some that were held out"
        )
        raise SettingError("split.protocol", problem, "extend with leave-one-out, temporal or given, or start anew")
    esim = store.get("esim", recipe.extend.base)
    requests = store.parent(esim, "requests")
    found = {
        "esim": esim,
        "dataset": store.parent(esim, "dataset"),
        "clusters": store.parent(esim, "clusters"),
        "requests": requests,
        "typical_users": store.parent(requests, "typical_users"),
    }
    return {f"{EXTENDED}{kind}": artifact for kind, artifact in found.items()}
