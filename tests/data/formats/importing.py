"""A data set in some format: written to a folder, read and imported as in stage one, and what plain Python counts."""

import gzip
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from eimf.config import CleaningSettings, ColumnSettings, DatasetSettings, SplitSettings, TableSettings, TextSettings
from eimf.data.formats.base import Format, RawData
from eimf.data.formats.registry import FORMATS, find_format
from eimf.data.prepare import Prepared, prepare_files
from eimf.data.source import Source, open_source


def write_source(folder: Path, files: Mapping[str, str | bytes]) -> Source:
    """A source of these files, which are written, text in UTF-8; those that end in .gz compressed."""
    for name, text in files.items():
        content = text.encode() if isinstance(text, str) else text
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return open_source(folder, "dataset.path")


def recognized(source: Source) -> list[str]:
    """Names of all formats that recognize it."""
    return [name for name, kind in FORMATS.items() if kind.recognizes(source)]


def read_events(kind: Format, source: Source, *columns: str, **table: object) -> list[tuple[object, ...]]:
    """The rows of the events."""
    settings = TableSettings.model_validate(table)
    files = kind.event_files(source)
    frames = [frame for file in files for frame in kind.read_events(file, columns, settings, file.field)]
    assert all(frame.columns == list(columns) for frame in frames)
    return [row for frame in frames for row in frame.rows()]


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
    raw = RawData(kind, kind.event_files(source), kind, kind.item_files(source))
    return prepare_files(raw, settings, cleaning, split, TextSettings())


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
