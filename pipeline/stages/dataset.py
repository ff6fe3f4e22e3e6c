"""Stage 1: raw files to the `dataset` artifact. A hit reads nothing but their bytes."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from eimf import schema
from eimf.config import CleaningSettings, DatasetSettings, SplitSettings, TextSettings
from eimf.data.files import check_file
from eimf.store import keys
from eimf.store.artifact import Staging
from pipeline.backends.assets import SCHEME, data_file, find_asset
from pipeline.console import info
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    from eimf.data.prepare import Prepared


def dataset_stage(
    settings: DatasetSettings, cleaning: CleaningSettings, split: SplitSettings, text: TextSettings, folder: Path
) -> Stage:
    """Keyed by the content of both raw files, and by every setting of how they are read; relative paths start at
    `folder`. Raises DataError if a file is not there."""
    configuration = {
        "interactions": _source(settings.interactions, folder, "dataset.interactions"),
        "items": _source(settings.items, folder, "dataset.items"),
        "dataset": settings.model_dump(mode="json", exclude={"name", "interactions", "items"}),
        "cleaning": cleaning.model_dump(mode="json"),
        "split": split.model_dump(mode="json"),
        "text": text.model_dump(mode="json"),
    }
    return Stage(1, "dataset", 4, (), configuration, partial(_build_dataset, settings, cleaning, split, text, folder))


def _source(spec: str | None, folder: Path, field: str) -> str:
    """The identity of a raw file: that of its asset, or the sha256 of its bytes."""
    assert spec is not None
    if spec.startswith(SCHEME):
        name, _, file = spec.removeprefix(SCHEME).partition("/")
        return f"{find_asset(name, field).identity} {file}"
    path = data_file(spec, folder, field)
    check_file(path, field)
    return f"sha256:{keys.file_digest(path)}"


def _build_dataset(
    settings: DatasetSettings,
    cleaning: CleaningSettings,
    split: SplitSettings,
    text: TextSettings,
    folder: Path,
    artifacts: Artifacts,
    staging: Staging,
) -> Summary:
    """Read, check and number the raw files; print each notice. Returns the counts."""
    from eimf.data.prepare import prepare
    from eimf.data.read import read_events, read_items

    columns = settings.columns
    assert settings.interactions is not None and settings.items is not None
    events_file = data_file(settings.interactions, folder, "dataset.interactions")
    items_file = data_file(settings.items, folder, "dataset.items")
    names = (columns.user or "user_id", columns.item or "item_id", columns.order or "order", columns.timestamp)
    texts = text.columns or ("title", "categories", "brand")
    ready = prepare(
        read_events(events_file, *names, bad_rows=cleaning.bad_rows),
        read_items(items_file, columns.item_key or "item_id", columns.title or "title", texts),
        bad_rows=cleaning.bad_rows,
        min_events=cleaning.min_events,
        max_chars=text.max_chars,
        remove_html=text.clean_html,
        split=split,
    )
    for notice in ready.notices:
        info(f"       note: {notice}")
    staging.write_table("events", ready.events)
    staging.write_table("eval_cases", ready.eval_cases)
    staging.write_table("items", ready.items)
    staging.write_table("users", ready.users)
    staging.write_table("rejected", ready.rejected)
    return _counts(ready)


def _counts(ready: "Prepared") -> Summary:
    """How many users, items and events there are, were left out or cleaned, and how many test targets are repeats."""
    from eimf.data.histories import read_histories

    num_users, num_items = ready.users.num_rows, ready.items.num_rows
    histories = read_histories(ready.events, ready.eval_cases, num_users=num_users, num_items=num_items)
    repeated = histories.repeated(histories.cases[schema.TEST])
    return {
        "users": num_users,
        "items": num_items,
        "events": ready.events.num_rows,
        "rejected": ready.num_bad_rows,
        "short_users": ready.num_short_users,
        "cleaned": ready.num_cleaned_items,
        "untitled": ready.items[schema.TITLE].null_count,
        "test_targets": len(repeated),
        "repeated_targets": int(repeated.sum()),
        **ready.split_counts,
        "notices": list(ready.notices),
    }
