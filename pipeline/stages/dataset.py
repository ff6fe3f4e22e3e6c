"""Stage 1: raw files to the `dataset` artifact. A hit reads nothing but their bytes."""

from typing import Any

from eimf import schema
from eimf.data.files import check_file
from eimf.store import keys
from eimf.store.artifact import Staging
from pipeline.backends.assets import SCHEME, data_file, find_asset
from pipeline.console import info
from pipeline.stages.stage import Artifacts, Run


def dataset_configuration(run: Run) -> dict[str, Any]:
    """The content of both raw files, and every setting of how they are read."""
    settings = run.recipe.dataset
    return {
        "interactions": _source(run, settings.interactions, "dataset.interactions"),
        "items": _source(run, settings.items, "dataset.items"),
        "dataset": settings.model_dump(mode="json", exclude={"name", "interactions", "items"}),
        "text": run.recipe.text.model_dump(mode="json"),
    }


def _source(run: Run, spec: str, field: str) -> str:
    """The identity of a raw file: that of its asset, or the sha256 of its bytes."""
    if spec.startswith(SCHEME):
        name, _, file = spec.removeprefix(SCHEME).partition("/")
        return f"{find_asset(name, field).identity} {file}"
    path = data_file(spec, run.recipe.folder, field)
    check_file(path, field)
    return f"sha256:{keys.file_digest(path)}"


def build_dataset(run: Run, made: Artifacts, staging: Staging) -> dict[str, Any]:
    """Read, check and number; a line for each notice. Returns the counts of what was kept, left out and cleaned."""
    from eimf.data.histories import read_histories
    from eimf.data.prepare import prepare
    from eimf.data.read import read_events, read_items

    settings, text, folder = run.recipe.dataset, run.recipe.text, run.recipe.folder
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
    staging.write_table("events", ready.events)
    staging.write_table("eval_cases", ready.eval_cases)
    staging.write_table("items", ready.items)
    staging.write_table("users", ready.users)
    staging.write_table("rejected", ready.rejected)
    num_users, num_items = ready.users.num_rows, ready.items.num_rows
    histories = read_histories(ready.events, ready.eval_cases, num_users=num_users, num_items=num_items)
    repeated = histories.repeated(histories.cases[schema.TEST])
    return {
        "users": num_users,
        "items": num_items,
        "events": ready.events.num_rows,
        "rejected": ready.broken,
        "short_users": ready.short_users,
        "cleaned": ready.cleaned,
        "untitled": ready.items[schema.TITLE].null_count,
        "test_targets": len(repeated),
        "repeated_targets": int(repeated.sum()),
        "notices": list(ready.notices),
    }
