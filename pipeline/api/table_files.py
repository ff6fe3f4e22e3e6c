"""Tables in memory as files of raw data."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eimf.errors import DataError, on_one_line
from eimf.store import keys
from eimf.store.files import temporary_dir
from pipeline.recipe import Draft

_DIGITS = 12


def draft_of_tables(interactions: Any, items: Any, folder: Path) -> Draft:
    """The recipe of a table of events and, if there is one, a table of items. They are written below `folder`, once for
    each content. Raises DataError for what is no table."""
    tables = {"interactions": _arrow_table(interactions, "interactions")}
    if items is not None:
        tables["items"] = _arrow_table(items, "items")
    with temporary_dir(folder) as temporary:
        for name, table in tables.items():
            pq.write_table(table, temporary / f"{name}.parquet", compression="zstd")
        digest = keys.digest([[name, keys.file_digest(temporary / f"{name}.parquet")] for name in tables])
        final = folder / f"table-{digest[:_DIGITS]}"
        if not final.is_dir():
            temporary.rename(final)
    files = {name: f"{name}.parquet" for name in tables}
    return Draft({"dataset": {"name": final.name, **files}}, final.resolve(), "the table")


def is_table(value: Any) -> bool:
    """Whether a value is a table of pyarrow, polars, pandas, or another library that hands over Arrow data."""
    return hasattr(value, "__arrow_c_stream__") or hasattr(value, "__dataframe__")


def _arrow_table(value: Any, field: str) -> pa.Table:
    """The same rows however they were held in memory, so that the same content makes the same dataset."""
    try:
        table = value if isinstance(value, pa.Table) else _converted(value)
    except (pa.ArrowException, TypeError, ValueError) as error:
        hint = "give a pyarrow, polars or pandas table of plain columns"
        raise DataError(field, f"cannot be read as a table ({on_one_line(error)})", hint) from error
    columns = [_plain(column) for column in table.columns]
    return pa.table(columns, names=table.column_names).combine_chunks()


def _converted(value: Any) -> pa.Table:
    if hasattr(value, "__arrow_c_stream__"):
        return pa.table(value)
    return pa.Table.from_pandas(value, preserve_index=False)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as large strings, whatever its encoding."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    is_text = pa.types.is_string(kind) or pa.types.is_string_view(kind)
    return column.cast(pa.large_string()) if is_text else column
