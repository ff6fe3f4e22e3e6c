"""Stage 1: raw files to the `dataset` artifact. A hit reads nothing but their bytes."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from eimf import schema
from eimf.config import CleaningSettings, DatasetSettings, SplitSettings, TextSettings
from eimf.store.artifact import Staging
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.stages.raw_files import check_unchanged, raw_identity, resolve_files
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    from eimf.data.prepare import Prepared

_TELL_TIES = 0.01
"""Share of tied neighbors from which on a line is printed."""


def dataset_stage(recipe: Recipe) -> Stage:
    """Keyed by the content of the raw files, and by every setting of how they are read. Raises DataError if a file is
    not there."""
    settings = recipe.dataset
    parts = {"cleaning": recipe.cleaning, "split": recipe.split, "text": recipe.text}
    files = raw_identity(settings, recipe.folder)
    configuration = {
        "files": files,
        "dataset": settings.model_dump(mode="json", exclude={"name", "format", "path", "interactions", "items"}),
        **{name: part.model_dump(mode="json") for name, part in parts.items()},
    }
    build = partial(_build, settings, recipe.cleaning, recipe.split, recipe.text, recipe.folder, files)
    return Stage(1, "dataset", 4, (), configuration, build)


def _build(
    settings: DatasetSettings,
    cleaning: CleaningSettings,
    split: SplitSettings,
    text: TextSettings,
    folder: Path,
    files: dict[str, str | None],
    artifacts: Artifacts,
    staging: Staging,
) -> Summary:
    """Read, clean, number and split the raw files; print each notice. Returns the counts. Raises DataError if they are
    not those of the key, `files`, any more."""
    from eimf.data.order import Ties
    from eimf.data.prepare import prepare
    from eimf.data.read import item_columns, read_items, reader_of

    raw = resolve_files(settings, folder)
    items = None
    names: list[str] = []
    if raw.item_files:
        columns, names = item_columns(raw.item_format, raw.item_files, settings, text.columns)
        items = read_items(raw.item_format, raw.item_files, columns, names, settings.table)
    events = reader_of(raw.format, settings, cleaning, split.protocol).read(raw.event_files)
    ready = prepare(
        events,
        items,
        cleaning=cleaning,
        split=split,
        text=text,
        text_columns=tuple(names),
        ties=Ties(settings.ties_seed if settings.ties == "shuffled" else None),
    )
    check_unchanged(files, settings, folder)
    _write(ready, staging)
    summary = {**_counts(ready), "protocol": split.protocol, "format": raw.format.name, "notices": list(ready.notices)}
    _tell(ready, settings.ties)
    return summary


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
        order = "in the order of the file" if ties == "file" else "shuffled"
        share = f"{100 * ready.counts['tied']:.0f} %"
        info(
            f"       note: {share} of neighboring events of a user have the same time; they are {order} (dataset.ties)"
        )
