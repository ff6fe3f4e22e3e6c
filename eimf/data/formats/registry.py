"""All formats by name, and how one is recognized."""

from collections.abc import Mapping

from eimf.data.formats.base import Format
from eimf.data.formats.movielens import MOVIELENS
from eimf.data.formats.table import TABLE_FORMAT
from eimf.data.source import Source
from eimf.errors import DataError, SettingError

TABLE = "table"
"""Name of the format of files that no other one recognizes."""
FORMATS: dict[str, Format] = {kind.name: kind for kind in (TABLE_FORMAT, MOVIELENS)}


def find_format(name: str, source: Source, formats: Mapping[str, Format] = FORMATS) -> Format:
    """The format of that name; with `auto` the one that recognizes the source, or `table`. Raises SettingError for an
    unknown name, and DataError if several recognize it."""
    if name != "auto":
        if name not in formats:
            raise SettingError("dataset.format", f"no format {name!r}", f"use auto or one of {list(formats)}")
        return formats[name]
    recognized = [kind.name for kind in formats.values() if kind.recognizes(source)]
    if len(recognized) > 1:
        problem = f"{source.label} looks like {' and '.join(recognized)}"
        raise DataError(source.field, problem, "set dataset.format to one of them, or separate their files")
    return formats[recognized[0] if recognized else TABLE]
