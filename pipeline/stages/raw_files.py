"""Which raw files a recipe names, which format they have, and what identifies them."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from eimf.config import DatasetSettings
from eimf.data.formats.base import Format, RawData
from eimf.data.formats.registry import FORMATS, TABLE, find_format
from eimf.data.source import RawFile, Source, open_source
from eimf.errors import DataError, SettingError
from eimf.store import keys
from pipeline.backends.assets import SCHEME, data_file, find_asset

_PATH, _EVENTS, _ITEMS = "dataset.path", "dataset.interactions", "dataset.items"


def find_files(settings: DatasetSettings, folder: Path) -> RawData | None:
    """`resolve_files`, but None if all files are assets, which are not fetched before they are read."""
    specs = _specs(settings)
    embedded = specs["events"] is not None and all(spec is None or spec.startswith(SCHEME) for spec in specs.values())
    return None if embedded else resolve_files(settings, folder)


def raw_identity(settings: DatasetSettings, raw: RawData | None) -> dict[str, str | None]:
    """What identifies the raw data in the key of a dataset: the formats, and the content of the files. `raw` is as
    `find_files` returns it."""
    specs = _specs(settings)
    assets = {kind: _asset_identity(spec, kind) for kind, spec in specs.items() if spec and spec.startswith(SCHEME)}
    if raw is None:
        return {"format": settings.format, "events": assets["events"], "items": assets.get("items")}
    return {
        "format": raw.format.name,
        "item_format": raw.item_format.name,
        "events": assets.get("events") or files_identity(raw.event_files),
        "items": assets.get("items") or files_identity(raw.item_files),
    }


def resolve_files(settings: DatasetSettings, folder: Path) -> RawData:
    """The files with events and items, and their formats. `dataset.path` has both; `dataset.interactions` and
    `dataset.items` take precedence. Relative paths start at `folder`.

    Files of these two that the format of the path does not know by name are recognized by themselves, and an item table
    of one's own is a table. Raises SettingError if neither path nor interactions is set, and DataError for files that
    are not there.
    """
    path = _source(settings.path, folder, _PATH)
    events, items = _source(settings.interactions, folder, _EVENTS), _source(settings.items, folder, _ITEMS)
    whole = path or events
    if whole is None:
        raise SettingError(_EVENTS, "neither dataset.path nor dataset.interactions is set", "name the files of events")
    kind = find_format(settings.format, whole)
    if events:
        event_format, event_files = _named_events(kind, events, settings.format)
    else:
        event_format, event_files = kind, _events_of(kind, whole, settings.format)
    if items is None and event_format.items_from_events:
        return RawData(event_format, event_files, event_format, event_files)
    if items is None:
        return _alike(RawData(event_format, event_files, kind, kind.item_files(path) if path else ()))
    known = kind.item_files(items) if kind.name != TABLE else ()
    return _alike(RawData(event_format, event_files, kind if known else FORMATS[TABLE], known or items.files))


def check_unchanged(identity: dict[str, str | None], settings: DatasetSettings, folder: Path) -> None:
    """Raise DataError if the raw data is no longer what `identity`, an earlier result of `raw_identity`, says."""
    now = raw_identity(settings, find_files(settings, folder))
    changed = [name for name in now if now[name] != identity[name]]
    if changed:
        field = _ITEMS if changed[0] == "items" and settings.items else _EVENTS if settings.interactions else _PATH
        hint = "run the command again when nothing writes to them"
        raise DataError(field, f"files with {changed[0]} changed while they were read", hint)


def _alike(raw: RawData) -> RawData:
    """The same. Raises DataError if the files of one table have different endings: one may be a copy of the other."""
    for kind, files in ((raw.format, raw.event_files), (raw.item_format, raw.item_files)):
        endings = {PurePosixPath(file.name).suffix.lower(): file.label for file in reversed(files)}
        if kind.name == TABLE and len(endings) > 1:
            problem = f"{' and '.join(sorted(endings.values()))} are in different formats"
            raise DataError(files[0].field, problem, "name one of them, or write all parts of a table in one format")
    return raw


def files_identity(files: Sequence[RawFile]) -> str | None:
    """sha256 over the bytes on the disk, of several files with their names; of one file over its bytes only. None for
    no file."""
    if not files:
        return None
    digests = {path: keys.file_digest(path) for path in {file.path for file in files}}
    if len(files) == 1 and files[0].member is None:
        return f"sha256:{digests[files[0].path]}"
    return f"sha256:{keys.digest([[file.name, file.member, digests[file.path]] for file in files])}"


def _specs(settings: DatasetSettings) -> dict[str, str | None]:
    return {"events": settings.interactions or settings.path, "items": settings.items or settings.path}


def _asset_identity(spec: str, kind: str) -> str:
    name, _, file = spec.removeprefix(SCHEME).partition("/")
    return f"{find_asset(name, _EVENTS if kind == 'events' else _ITEMS).identity} {file}"


def _source(spec: str | None, folder: Path, field: str) -> Source | None:
    return None if spec is None else open_source(data_file(spec, folder, field), field)


def _named_events(kind: Format, source: Source, asked: str) -> tuple[Format, tuple[RawFile, ...]]:
    """The event files that `dataset.interactions` names, with their format: all of them, unless the format knows which
    ones hold events."""
    if asked == "auto" and not kind.event_files(source):
        kind = find_format(asked, source)
    known = kind.event_files(source) if kind.name != TABLE else ()
    return kind, known or source.files


def _events_of(kind: Format, source: Source, asked: str) -> tuple[RawFile, ...]:
    """The event files of a whole dataset; a single file is one. Raises DataError if there is none."""
    files = kind.event_files(source) or (source.files if len(source.files) == 1 else ())
    if not files:
        unlike = "looks like no published format, and " if asked == "auto" else ""
        problem = f"{source.label} {unlike}has no events of a {kind.name}, in {' or '.join(kind.events)}"
        hint = f"name yours in {_EVENTS}, or choose by dataset.format (`eimf data formats` lists all)"
        raise DataError(source.field, problem, hint)
    return files
