"""All formats by name, and how one is recognized."""

from eimf.data.formats.base import Format
from eimf.data.source import Source

FORMATS: dict[str, Format] = {}


def find_format(name: str, source: Source) -> Format:
    """The format of that name; with `auto` the one that recognizes the source, or `table`. Raises SettingError for an
    unknown name, and DataError if two formats recognize it."""
    raise NotImplementedError
