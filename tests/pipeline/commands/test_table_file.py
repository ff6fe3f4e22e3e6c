"""Files of recommendations: the ending decides the format, and ids come back unchanged."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eimf.errors import SettingError
from pipeline.commands.recommend import RANKED
from pipeline.commands.table_file import check_ending, table_writer

ROWS = [
    {"user_id": user, "rank": 1, "item_id": item, "score": 0.25}
    for user, item in (("u,1", 'a "b"'), ("two\nlines", "ü😀"), (" ", "a;b"), ("\\n", "'"))
]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl", ".CSV"])
def test_what_was_written_is_read_again(tmp_path, ending):
    path = tmp_path / f"ranked{ending}"
    with table_writer(path, ending, RANKED) as write:
        for row in ROWS:
            write(pa.Table.from_pylist([row], RANKED))
    if ending == ".parquet":
        assert pq.read_table(path).to_pylist() == ROWS
    elif ending == ".jsonl":
        assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == ROWS
    else:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert rows == [{name: str(value) for name, value in row.items()} for row in ROWS]


def test_scores_of_text_files_are_as_short_as_a_float32_can_be(tmp_path):
    row = {"user_id": "u", "rank": 1, "item_id": "i", "score": 0.1}
    for ending in (".csv", ".jsonl"):
        with table_writer(tmp_path / "f", ending, RANKED) as write:
            write(pa.Table.from_pylist([row], RANKED))
        assert "0.1" in (text := (tmp_path / "f").read_text()) and "0.10" not in text


@pytest.mark.parametrize("name", ["all", "all.txt", "all.json"])
def test_other_endings_are_refused(name):
    with pytest.raises(SettingError, match=r"--output: .* has the ending '.*'; end .* \.parquet, \.csv, \.jsonl"):
        check_ending(Path(name), "--output")
