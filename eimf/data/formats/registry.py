"""All formats by name, and how one is recognized."""

from collections.abc import Mapping

from eimf.data.formats.amazon_2014 import AMAZON_2014
from eimf.data.formats.amazon_2018 import AMAZON_2018
from eimf.data.formats.amazon_2023 import AMAZON_2023
from eimf.data.formats.base import Format
from eimf.data.formats.diginetica import DIGINETICA
from eimf.data.formats.gowalla import GOWALLA
from eimf.data.formats.hm import HM
from eimf.data.formats.lastfm_1k import LASTFM_1K
from eimf.data.formats.mind import MIND
from eimf.data.formats.movielens import MOVIELENS
from eimf.data.formats.otto import OTTO
from eimf.data.formats.recbole import RECBOLE
from eimf.data.formats.retailrocket import RETAILROCKET
from eimf.data.formats.sasrec_text import SASREC_TEXT
from eimf.data.formats.steam import STEAM
from eimf.data.formats.table import TABLE_ENDINGS, TABLE_FORMAT
from eimf.data.formats.yelp import YELP
from eimf.data.source import Source
from eimf.errors import DataError, SettingError

TABLE = "table"
"""Name of the format of files that no other one recognizes."""
_FORMATS = (
    TABLE_FORMAT,
    AMAZON_2014,
    AMAZON_2018,
    AMAZON_2023,
    DIGINETICA,
    GOWALLA,
    HM,
    LASTFM_1K,
    MIND,
    MOVIELENS,
    OTTO,
    RECBOLE,
    RETAILROCKET,
    SASREC_TEXT,
    STEAM,
    YELP,
)
FORMATS: dict[str, Format] = {kind.name: kind for kind in _FORMATS}


def find_format(name: str, source: Source, formats: Mapping[str, Format] = FORMATS) -> Format:
    """The format of that name; with `auto` the one that recognizes the source, or `table`. Raises SettingError for an
    unknown name, and DataError if several recognize it."""
    if name != "auto":
        if name not in formats:
            raise SettingError("dataset.format", f"no format {name!r}", f"use auto or one of {list(formats)}")
        return formats[name]
    recognized = [kind.name for kind in formats.values() if kind.recognizes(source)]
    if len(recognized) == 1 and _holds_more(formats[recognized[0]], source):
        recognized.append(TABLE)
    if len(recognized) > 1:
        problem = f"{source.label} looks like {' and '.join(recognized)}"
        raise DataError(source.field, problem, "set dataset.format to one of them, or separate their files")
    return formats[recognized[0] if recognized else TABLE]


def _holds_more(kind: Format, source: Source) -> bool:
    """Whether a source of this format has the events of a table too."""
    known = {*kind.event_files(source), *kind.item_files(source)}
    return not known.issuperset(source.find([f"interactions{ending}" for ending in TABLE_ENDINGS]))
