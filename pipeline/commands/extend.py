"""The command `extend`: an `esim` artifact goes on with newer data."""

from eimf.config import ExtendSettings
from eimf.store.artifact import Artifact, Store
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.stages.stage_one import run_esim


def run_extend(recipe: Recipe, store: Store, base_key: str) -> dict[str, Artifact]:
    """Stages 1 to 9 with the numbers, clusters and requests of the `esim` artifact `base_key`, which may be shortened.
    Prints what is new, and how far the users have moved. Returns every artifact by kind. Raises ArtifactError and
    SettingError."""
    base = store.get("esim", base_key)
    settings = ExtendSettings(base=base.key, beyond=recipe.extend.beyond)
    artifacts = run_esim(recipe.model_copy(update={"extend": settings}), store)
    for line in drift(artifacts):
        info(line)
    return artifacts


def drift(artifacts: dict[str, Artifact]) -> list[str]:
    """What an extension has in addition to its base, and what of the base does not hold any more, line by line."""
    dataset, clusters, requests = (artifacts[kind].manifest.summary for kind in ("dataset", "clusters", "requests"))
    asked = requests["requests"] - requests["kept"]
    items = f"{dataset['new_items']:,} of {dataset['items']:,} items"
    nearest = f"less than {clusters['radius']:.3f} similar to the nearest one"
    beyond = f"{clusters['beyond']:.1%} of all users, {clusters['new_users_beyond']:.1%} of the new ones"
    return [
        f"new: {dataset['new_users']:,} of {dataset['users']:,} users, {items}",
        f"events of new items: {dataset['events_of_new_items']:.1%}",
        f"beyond the clusters ({nearest}): {beyond}",
        f"clusters: {clusters['new_clusters']:,} new; {clusters['moved']:.1%} of the old users are in another one",
        f"typical users: {requests['kept']:,} as before, {asked:,} about whom the LLM was not asked before",
    ]
