"""Tables of all kinds of file: the same rows, lists, chunks, and columns by any name."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eimf.config import ColumnSettings, TableSettings
from eimf.data.formats.base import CHUNK_ROWS
from eimf.data.formats.registry import find_format
from eimf.data.formats.table import TABLE_FORMAT
from eimf.errors import DataError
from tests.data.formats.importing import expected_histories, histories, import_source, read_events, texts, write_source

EVENTS = [("u", "b", "3"), ("u", "a", "1"), ("v", "a", "9"), ("u", "c", "2"), ("v", "c", "10"), ("v", "b", "8")]
NAMES = ("user_id", "item_id", "order")
ITEMS = "item_id,title,brand\na,Ant,\nb,Bee,Buzz\nc,Cat,\n"


def delimited(separator: str, rows=EVENTS, names=NAMES) -> str:
    return "".join(separator.join(row) + "\n" for row in [names, *rows])


def parquet(columns: dict, folder, **options) -> bytes:
    pq.write_table(pa.table(columns), folder / "x.parquet", **options)
    return (folder / "x.parquet").read_bytes()


def objects(rows=EVENTS) -> str:
    return "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in rows)


@pytest.mark.parametrize("ending", ["csv", "TSV", "jsonl", "ndjson.gz", "csv.gz", "parquet", "pq", "parquet.gz"])
def test_every_kind_of_file_is_imported(tmp_path, ending):
    kind = ending.lower().removesuffix(".gz")
    columns = dict(zip(NAMES, zip(*EVENTS, strict=True), strict=True))
    content: str | bytes = {"csv": delimited(","), "tsv": delimited("\t")}.get(kind, objects())
    if kind in ("parquet", "pq"):
        content = parquet(columns, tmp_path, row_group_size=2)
    source = write_source(tmp_path / "data", {f"interactions.{ending}": content, "items.csv": ITEMS})
    assert find_format("auto", source) is TABLE_FORMAT
    assert read_events(TABLE_FORMAT, source, *NAMES) == EVENTS
    data = import_source(source)
    assert histories(data) == expected_histories((user, item, int(order)) for user, item, order in EVENTS)
    assert texts(data) == {"a": "Ant", "b": "Bee | Buzz", "c": "Cat"}  # of title, categories and brand those there are


def test_several_files_of_the_same_columns_in_any_order(tmp_path):
    files = {
        "events/interactions.1.csv": delimited(",", EVENTS[:2]),
        "events/interactions.2.tsv": delimited("\t", [row[::-1] for row in EVENTS[2:4]], NAMES[::-1]),
        "events/interactions.3.jsonl": objects(EVENTS[4:]),
    }
    source = write_source(tmp_path, files)
    assert read_events(TABLE_FORMAT, source, *NAMES) == EVENTS
    assert histories(import_source(source)) == expected_histories((u, item, int(order)) for u, item, order in EVENTS)


def test_own_names_other_separators_and_dates_without_a_header(tmp_path):
    days = ["28/02/2024 10:00", "01/03/2024 09:00", "29/02/2024 23:59"]  # the order of text would be another
    rows = [("J\u00fcrgen", item, day) for item, day in zip("abc", days, strict=True)]
    content = "".join("::".join(row) + "\n" for row in rows).encode("latin-1")
    source = write_source(tmp_path, {"interactions.dat": content})
    table = {
        "separator": "::",
        "header": ["who", "what", "when"],
        "encoding": "latin-1",
        "date_format": "%d/%m/%Y %H:%M",
    }
    assert read_events(TABLE_FORMAT, source, "who", "what", "when", **table) == rows
    columns = ColumnSettings(user="who", item="what", order="when", timestamp="when")
    data = import_source(source, columns, table=table)
    assert histories(data) == {"J\u00fcrgen": ["a", "c", "b"]}
    assert data.timestamps[1] - data.timestamps[0] == (24 + 13) * 3600 + 59 * 60  # 2024 has a 29 February


def test_an_item_table_with_a_header_and_another_separator(tmp_path):
    content = "".join(f"{user};{item};{order}\n" for user, item, order in EVENTS)
    source = write_source(tmp_path, {"events.txt": content, "items.csv": ITEMS})
    data = import_source(source, table={"separator": ";", "header": list(NAMES)})
    assert histories(data) == expected_histories((user, item, int(order)) for user, item, order in EVENTS)
    assert texts(data) == {"a": "Ant", "b": "Bee | Buzz", "c": "Cat"}


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_one_user_per_row_in_the_order_of_the_sequence(tmp_path, kind):
    sequences = {"v": list("cab"), "u": list("abac")}
    files = {
        "csv": "user_id,item_id\n" + "".join(f"{user},{' '.join(items)}\n" for user, items in sequences.items()),
        "parquet": parquet({"user_id": list(sequences), "item_id": list(sequences.values())}, tmp_path),
        "jsonl": "".join(json.dumps({"user_id": u, "item_id": items}) + "\n" for u, items in sequences.items()),
    }
    source = write_source(tmp_path / "data", {f"events.{kind}": files[kind]})
    settings = {"table": {"sequence_separator": " "}} if kind == "csv" else {"file_order": True}
    assert histories(import_source(source, **settings)) == sequences


def test_columns_that_a_file_lacks_are_named_with_those_that_it_has(tmp_path):
    for name, content in (("csv", delimited(",")), ("parquet", parquet({"a": [1], "b": [2]}, tmp_path))):
        source = write_source(tmp_path / name, {f"events.{name}": content})
        with pytest.raises(DataError, match=r"has no column 'c'; name one of '(a', 'b|item_id', 'order', 'user_id)'"):
            read_events(TABLE_FORMAT, source, "c")
    source = write_source(tmp_path / "txt", {"events.txt": "a b\n"})
    with pytest.raises(
        DataError, match=r"the ending '\.txt'; .*\.csv, .* set dataset\.table\.separator .*dataset\.format \("
    ):
        read_events(TABLE_FORMAT, source, "a")


def test_a_large_row_group_comes_in_chunks_and_only_the_columns_asked_for(tmp_path):
    count = CHUNK_ROWS + 1
    columns = {"n": pa.array(np.arange(count, dtype=np.int32)), "odd": pa.nulls(count)}
    content = parquet(columns, tmp_path, row_group_size=count, use_dictionary=False, compression="none")
    source = write_source(tmp_path / "data", {"events.parquet": content})
    frames = list(TABLE_FORMAT.read_events(source.files[0], ["n"], TableSettings(), "f"))
    assert [len(frame) for frame in frames] == [CHUNK_ROWS, 1] and frames[1].rows() == [(CHUNK_ROWS,)]
