"""Stage 1: raw files to the `dataset` artifact. A hit reads nothing but their bytes."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from eimf import schema
from eimf.config import DatasetSettings, TextSettings
from eimf.data.files import check_file
from eimf.store import keys
from eimf.store.artifact import Staging
from pipeline.backends.assets import SCHEME, data_file, find_asset
from pipeline.console import info
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    from eimf.data.prepare import Prepared


def dataset_stage(settings: DatasetSettings, text: TextSettings, folder: Path) -> Stage:
    """Keyed by the content of both raw files, and by every setting of how they are read; relative paths start at
    `folder`. Raises DataError if a file is not there."""
    configuration = {
        "interactions": _source(settings.interactions, folder, "dataset.interactions"),
        "items": _source(settings.items, folder, "dataset.items"),
        "dataset": settings.model_dump(mode="json", exclude={"name", "interactions", "items"}),
        "text": text.model_dump(mode="json"),
    }
    return Stage(1, "dataset", 4, (), configuration, partial(_build_dataset, settings, text, folder))


def _source(spec: str, folder: Path, field: str) -> str:
    """The identity of a raw file: that of its asset, or the sha256 of its bytes."""
    if spec.startswith(SCHEME):
        name, _, file = spec.removeprefix(SCHEME).partition("/")
        return f"{find_asset(name, field).identity} {file}"
    path = data_file(spec, folder, field)
    check_file(path, field)
    return f"sha256:{keys.file_digest(path)}"


def _build_dataset(
    settings: DatasetSettings, text: TextSettings, folder: Path, artifacts: Artifacts, staging: Staging
) -> Summary:
    """Read, check and number the raw files; print each notice. Returns the counts."""
    from eimf.data.prepare import prepare
    from eimf.data.read import read_events, read_items

    columns = settings.columns
    events_file = data_file(settings.interactions, folder, "dataset.interactions")
    items_file = data_file(settings.items, folder, "dataset.items")
    names = (columns.user, columns.item, columns.order, columns.timestamp)
    ready = prepare(
        read_events(events_file, *names, bad_rows=settings.bad_rows),
        read_items(items_file, columns.item_key, columns.title, text.columns),
        bad_rows=settings.bad_rows,
        min_events=settings.min_events,
        max_chars=text.max_chars,
        remove_html=text.clean_html,
    )
    for notice in ready.notices:
        info(f"       note: {notice}")
    staging.write_array("item_idx", ready.item_idx)
    if ready.timestamps is not None:
        staging.write_array("timestamp", ready.timestamps)
    staging.write_table("eval_cases", ready.eval_cases)
    staging.write_table("items", ready.items)
    staging.write_table("users", ready.users)
    staging.write_table("rejected", ready.rejected)
    return _counts(ready)


def _counts(ready: "Prepared") -> Summary:
    """How many users, items and events there are, were left out or cleaned, and how many test targets are repeats."""
    histories = ready.histories()
    repeated = histories.repeated(histories.cases[schema.TEST])
    return {
        "users": histories.num_users,
        "items": histories.num_items,
        "events": len(histories.item_idx),
        "rejected": ready.num_bad_rows,
        "short_users": ready.num_short_users,
        "cleaned": ready.num_cleaned_items,
        "untitled": ready.items[schema.TITLE].null_count,
        "test_targets": len(repeated),
        "repeated_targets": int(repeated.sum()),
        "notices": list(ready.notices),
    }
