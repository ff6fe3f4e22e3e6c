"""Stage 1: raw files to the `dataset` artifact. A hit reads nothing but their bytes."""

from functools import partial
from typing import TYPE_CHECKING

from eimf import schema
from eimf.store.artifact import Artifact, Staging
from eimf.store.manifest import EXTENDED
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.stages.memory import scratch_of
from pipeline.stages.raw_files import RawData, check_unchanged, find_files, raw_identity, resolve_files
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    from eimf.data.prepare import Prepared
    from eimf.data.renumber import Numbering

_TELL_TIES = 0.01
"""Share of tied neighbors from which on a line is printed."""


def dataset_stage(recipe: Recipe) -> Stage:
    """Keyed by the content of the raw files, and by every setting of how they are read; if the recipe extends an
    artifact, also by the dataset whose numbers go on. Raises DataError if a file is not there."""
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
    parents = (f"{EXTENDED}dataset",) if recipe.extend.enabled else ()
    return Stage(1, "dataset", 4, parents, configuration, build)


def _build(
    recipe: Recipe, files: RawData | None, identity: dict[str, str | None], artifacts: Artifacts, staging: Staging
) -> Summary:
    """Read, clean, number and split the raw files; print each notice. Returns the counts. Raises DataError if they are
    no longer those of `identity`, which is in the key."""
    from eimf.data.prepare import prepare_files

    raw = files or resolve_files(recipe.dataset, recipe.folder)
    before = _numbering(artifacts[f"{EXTENDED}dataset"]) if recipe.extend.enabled else None
    scratch = scratch_of(recipe.runtime, staging)
    ready = prepare_files(raw, recipe.dataset, recipe.cleaning, recipe.split, recipe.text, before, scratch)
    check_unchanged(identity, recipe.dataset, recipe.folder)
    _write(ready, staging)
    _tell(ready, recipe.dataset.ties)
    kinds = {"protocol": recipe.split.protocol, "format": raw.format.name}
    counts = _counts(ready)
    if before is not None:
        counts["new_users"] = counts["users"] - len(before.user_ids)
        counts["new_items"] = counts["items"] - len(before.item_ids)
        newest = sum(
            int((ready.item_idx[block] > len(before.item_ids)).sum()) for block in scratch.blocks(len(ready.item_idx))
        )
        counts["events_of_new_items"] = round(newest / len(ready.item_idx), 4)
    return {**counts, **kinds, "notices": list(ready.notices)}


def _numbering(dataset: Artifact) -> "Numbering":
    """The ids of a dataset in the order of their numbers."""
    import polars as pl

    from eimf.data.renumber import Numbering

    users, items = (
        pl.Series(dataset.table(name, [column])[column])
        for name, column in (("users", schema.USER_ID), ("items", schema.ITEM_ID))
    )
    return Numbering(users, items)


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
