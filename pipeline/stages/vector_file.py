"""Vectors of items from a file of the user's: another encoder, next titles, whatever gives items a vector."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eimf import schema
from eimf.errors import DataError, SettingError
from eimf.store import keys

if TYPE_CHECKING:
    import numpy as np

FIELD = "--vectors"


@dataclass(frozen=True)
class VectorFile:
    """A Parquet file with the columns `item_id` and `vector`, under a name."""

    name: str
    path: Path

    @property
    def digest(self) -> str:
        """Of its bytes."""
        return keys.file_digest(self.path)


def vector_file(text: str) -> VectorFile:
    """From `NAME=FILE`. Raises SettingError."""
    name, sign, path = text.partition("=")
    if not sign or not name.strip() or not path.strip():
        raise SettingError(FIELD, f"{text!r} is not NAME=FILE", 'write it like "mpnet=vectors.parquet"')
    if not Path(path).is_file():
        raise SettingError(FIELD, f"no file {path}", "give a Parquet file with the columns item_id and vector")
    return VectorFile(name.strip(), Path(path))


def read_vector_file(file: VectorFile, item_ids: list[str]) -> "np.ndarray":
    """The vectors [N, S] of these items, float32; zeros for an item that the file lacks. Raises DataError."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(file.path, columns=[schema.ITEM_ID, schema.VECTOR])
        ids = table[schema.ITEM_ID].cast(pa.string()).to_pylist()
        rows = table[schema.VECTOR].to_pylist()
        lengths = {None if row is None else len(row) for row in rows}
        if len(lengths) != 1 or None in lengths:
            problem = f"its vectors have {len(lengths)} lengths" if lengths else "it has no row"
            raise DataError(f"{FIELD} {file.name}", problem, "give every item a vector of the same length")
        values = np.array(rows, np.float32)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        problem = f"{file.path} cannot be read ({str(error).splitlines()[0]:.150})"
        raise DataError(f"{FIELD} {file.name}", problem, "give Parquet with the columns item_id and vector") from error
    if not np.isfinite(values).all():
        raise DataError(f"{FIELD} {file.name}", "a number is not finite", "leave out items without a vector")
    row_of = {item_id: number for number, item_id in enumerate(item_ids)}
    row = np.array([row_of.get(item_id, -1) for item_id in ids])
    known = row >= 0
    if not known.any():
        problem = f"none of its {len(ids):,} ids is an item of the dataset, such as {item_ids[0]!r}"
        raise DataError(f"{FIELD} {file.name}", problem, "write the ids as they are in the data")
    vectors = np.zeros((len(item_ids), values.shape[1]), np.float32)
    vectors[row[known]] = values[known]
    return vectors
