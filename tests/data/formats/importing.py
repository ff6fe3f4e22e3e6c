"""A data set in some format, written to a folder and imported as stage one does it, and what plain Python counts."""

import gzip
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from eimf.config import CleaningSettings, ColumnSettings, DatasetSettings, SplitSettings
from eimf.data.formats.registry import find_format
from eimf.data.prepare import Prepared, prepare
from eimf.data.read import item_columns, read_items, reader_of
from eimf.data.source import Source
from tests.data.formats.reading import write_files


def write_source(folder: Path, files: Mapping[str, str | bytes]) -> Source:
    """A source of these files, which are written, text in UTF-8; those that end in .gz compressed."""
    contents = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    return write_files(
        folder, {name: gzip.compress(data) if name.endswith(".gz") else data for name, data in contents.items()}
    )


def import_source(
    source: Source,
    columns: ColumnSettings = ColumnSettings(),
    cleaning: CleaningSettings = CleaningSettings(),
    split: SplitSettings = SplitSettings(),
    **dataset: object,
) -> Prepared:
    """The data set of a source whose format is recognized."""
    settings = DatasetSettings.model_validate({"name": "fixture", "path": source.label, "columns": columns, **dataset})
    kind = find_format("auto", source)
    files = kind.item_files(source)
    items, names = None, []
    if files:
        chosen, names = item_columns(kind, files, settings, None)
        items = read_items(kind, files, chosen, names, settings.table)
    events = reader_of(kind, settings, cleaning, split.protocol).read(kind.event_files(source))
    return prepare(events, items, cleaning=cleaning, split=split, text_columns=tuple(names))


def histories(prepared: Prepared) -> dict[str, list[str]]:
    """The items of each user, in order."""
    item_ids = [None, *prepared.items["item_id"].to_pylist()]
    bounds = zip(prepared.offsets, prepared.offsets[1:], strict=False)
    items = [[item_ids[item] for item in prepared.item_idx[start:end]] for start, end in bounds]
    return dict(zip(prepared.users["user_id"].to_pylist(), items, strict=True))


def expected_histories(events: Iterable[tuple[str, str, float]]) -> dict[str, list[str]]:
    """The same, from (user, item, time) by plain Python; users with fewer than three events are left out."""
    events = list(events)
    counts = Counter(user for user, _, _ in events)
    items = defaultdict(list)
    for user, item, _ in sorted(events, key=lambda event: event[2]):
        if counts[user] >= 3:
            items[user].append(item)
    return dict(items)


def titles(prepared: Prepared) -> dict[str, str]:
    return dict(zip(prepared.items["item_id"].to_pylist(), prepared.items["title"].to_pylist(), strict=True))


def texts(prepared: Prepared) -> dict[str, str]:
    return dict(zip(prepared.items["item_id"].to_pylist(), prepared.items["text"].to_pylist(), strict=True))
