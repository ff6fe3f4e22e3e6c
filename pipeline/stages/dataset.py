"""Stage 1: raw files to the `dataset` artifact. A hit reads nothing but their bytes."""

from functools import partial
from typing import TYPE_CHECKING

from eimf import schema
from eimf.store.artifact import Staging
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.stages.raw_files import RawData, check_unchanged, find_files, raw_identity, resolve_files
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    from eimf.data.prepare import Prepared

_TELL_TIES = 0.01
"""Share of tied neighbors from which on a line is printed."""


def dataset_stage(recipe: Recipe) -> Stage:
    """Keyed by the content of the raw files, and by every setting of how they are read. Raises DataError if a file is
    not there."""
    settings = recipe.dataset
    raw = find_files(settings, recipe.folder)
    parts = {"cleaning": recipe.cleaning, "split": recipe.split, "text": recipe.text}
    identity = raw_identity(settings, raw)
    configuration = {
        "files": identity,
        "dataset": settings.model_dump(mode="json", exclude={"name", "format", "path", "interactions", "items"}),
        **{name: part.model_dump(mode="json") for name, part in parts.items()},
    }
    build = partial(_build, recipe, raw, identity)
    return Stage(1, "dataset", 4, (), configuration, build)


def _build(
    recipe: Recipe, files: RawData | None, identity: dict[str, str | None], artifacts: Artifacts, staging: Staging
) -> Summary:
    """Read, clean, number and split the raw files; print each notice. Returns the counts. Raises DataError if they are
    no longer those of `identity`, which is in the key."""
    from eimf.data.prepare import prepare_files

    raw = files or resolve_files(recipe.dataset, recipe.folder)
    ready = prepare_files(raw, recipe.dataset, recipe.cleaning, recipe.split, recipe.text)
    check_unchanged(identity, recipe.dataset, recipe.folder)
    _write(ready, staging)
    _tell(ready, recipe.dataset.ties)
    kinds = {"protocol": recipe.split.protocol, "format": raw.format.name}
    return {**_counts(ready), **kinds, "notices": list(ready.notices)}


def _write(ready: "Prepared", staging: Staging) -> None:
    staging.write_array("item_idx", ready.item_idx)
    if ready.timestamps is not None:
        staging.write_array("timestamp", ready.timestamps)
    for name in ("users", "items", "eval_cases", "cleaning"):
        staging.write_table(name, getattr(ready, name))
    if ready.removed is not None:
        staging.write_table("removed", ready.removed)


def _counts(ready: "Prepared") -> Summary:
    """How many users, items and events there are, were left out or cleaned, and how many test targets are repeats."""
    histories = ready.histories()
    repeated = histories.repeated(histories.cases[schema.TEST])
    return {
        "users": histories.num_users,
        "items": histories.num_items,
        "events": len(histories.item_idx),
        **ready.counts,
        "test_targets": len(repeated),
        "repeated_targets": int(repeated.sum()),
    }


def _tell(ready: "Prepared", ties: str) -> None:
    """Print what a user should know of the data."""
    for notice in ready.notices:
        info(f"       note: {notice}")
    if ready.counts["tied"] >= _TELL_TIES:
        order = "are in the order of the file" if ties == "file" else "are shuffled"
        share = f"{100 * ready.counts['tied']:.0f} %"
        info(f"       note: {share} of neighboring events of a user are tied in order; ties {order} (dataset.ties)")
