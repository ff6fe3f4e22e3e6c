"""A file with what is known about items: what is read, and what is refused in one line."""

import json

import polars as pl
import pytest

from eimf.data.knowledge_file import read_knowledge
from eimf.data.source import open_source
from eimf.errors import DataError

FIELD = "item_knowledge.source"
ROWS = [("7", "dry  and\nwitty"), ("8", "loud"), ("9", None), ("7", "dry and witty")]


def read(path):
    return read_knowledge(open_source(path, FIELD).files, FIELD)


def write(frame: pl.DataFrame, path):
    writers = {".parquet": frame.write_parquet, ".jsonl": frame.write_ndjson, ".csv": frame.write_csv}
    writers[path.suffix](path)
    return path


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("kind", [pl.String, pl.Int64])
def test_every_kind_of_file_and_of_id_reads_the_same(tmp_path, ending, kind):
    frame = pl.DataFrame(ROWS, schema=["item_id", "knowledge"], orient="row").with_columns(pl.col("item_id").cast(kind))
    content = read(write(frame, tmp_path / f"known.{ending}"))
    assert content.texts == {"7": "dry and witty", "8": "loud"} and (content.rows, content.empty) == (4, 1)
    assert content.of(["8", "1", "7"], FIELD) == ["loud", None, "dry and witty"]


def lines(*rows: dict) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("known.jsonl", b"", r"known\.jsonl is empty"),
        ("known.jsonl", lines({"item_id": "1", "text": "x"}), "'knowledge' is not a field"),
        ("known.csv", b"item_id,text\n1,x\n", "has no column 'knowledge'"),
        ("known.csv", b"item_id,knowledge\n1,caf\xe9\n", "line 2"),
        ("known.jsonl", b'{"item_id": "1", "knowledge": "caf\xe9"}\n', r"line 1 .*utf-8"),
        ("known.parquet", b"PAR1 or not", "cannot be read"),
        ("known.txt", b"1 x\n", r"has the ending '\.txt'"),
        ("known.jsonl", lines({"item_id": "1", "knowledge": " "}), "1 rows, and none with an item_id and knowledge"),
        (
            "known.jsonl",
            lines({"item_id": "1", "knowledge": "hot"}, {"item_id": "1", "knowledge": "cold"}),
            "item_id '1' has two texts, 'hot' and 'cold'",
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as error:
        read(tmp_path / name)
    assert str(error.value).startswith(f"{FIELD}: ") and "\n" not in str(error.value)


def test_no_file_and_no_known_id(tmp_path):
    with pytest.raises(DataError, match=r"item_knowledge\.source: no file or folder .*none\.jsonl"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "known.jsonl").write_bytes(lines({"item_id": "1", "knowledge": "hot"}))
    with pytest.raises(DataError, match=r"none of its 1 ids, such as '1', is an item of the dataset; .* such as 'A'"):
        read(tmp_path / "known.jsonl").of(["A", "B"], FIELD)
