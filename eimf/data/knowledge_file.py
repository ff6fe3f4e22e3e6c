"""A file with what is known about items: `item_id` and `knowledge`, in JSON lines, Parquet or delimited text."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from eimf import schema
from eimf.config import TableSettings
from eimf.data.as_text import ids_of, text_of
from eimf.data.characters import clean_characters
from eimf.data.formats.table import read_table
from eimf.data.source import RawFile
from eimf.errors import DataError

_COLUMNS = (schema.ITEM_ID, schema.KNOWLEDGE)
_HINT = "give JSON lines, Parquet or CSV, in UTF-8, with the columns item_id and knowledge"


@dataclass(frozen=True)
class KnowledgeFile:
    """`texts` by item id, and how many `rows` there were, and how many without an id or a text (`empty`)."""

    texts: dict[str, str]
    rows: int
    empty: int

    def of(self, item_ids: Sequence[str], field: str) -> list[str | None]:
        """The text of each item, None without one. Raises DataError for `field` if no item has one."""
        found = [self.texts.get(item) for item in item_ids]
        if not any(text is not None for text in found):
            problem = (
                f"none of its {len(self.texts)} ids, such as {next(iter(self.texts))!r}, is an item of the dataset"
            )
            raise DataError(field, problem, f"use ids as in the dataset, such as {item_ids[0]!r}")
        return found


def read_knowledge(files: Sequence[RawFile], field: str) -> KnowledgeFile:
    """All rows of these files, ids and texts as those of a dataset: clean, and on one line. Raises DataError for
    `field` if a file cannot be read or lacks a column, if an id has two texts, and if there is no usable row."""
    try:
        frames = [frame for file in files for frame in read_table(file, _COLUMNS, TableSettings(), field)]
    except DataError as error:  # its hint is about the raw data
        raise DataError(field, error.problem, _HINT) from error
    rows = pl.concat([_typed(frame, field) for frame in frames], how="vertical") if frames else pl.DataFrame()
    usable = rows.drop_nulls() if frames else rows
    if usable.is_empty():
        names = ", ".join(file.label for file in files)
        raise DataError(field, f"{names} has {len(rows)} rows, and none with an item_id and knowledge", _HINT)
    _check_repeated(usable, field)
    texts = dict(usable.select(_COLUMNS).iter_rows())
    return KnowledgeFile(texts, len(rows), len(rows) - len(usable))


def _typed(frame: pl.DataFrame, field: str) -> pl.DataFrame:
    ids, texts = (frame[name] for name in _COLUMNS)
    return pl.DataFrame([ids_of(ids, field), clean_characters(text_of(texts, field))])


def _check_repeated(rows: pl.DataFrame, field: str) -> None:
    different = rows.unique(maintain_order=True).filter(pl.col(schema.ITEM_ID).is_duplicated())
    if not different.is_empty():
        item = different[schema.ITEM_ID][0]
        first, second = different.filter(pl.col(schema.ITEM_ID) == item)[schema.KNOWLEDGE][:2]
        problem = f"item_id {item!r} has two texts, {first[:60]!r} and {second[:60]!r}"
        raise DataError(field, problem, "keep one row per item")
