"""Vectors of items from a file of the user's."""

import numpy as np
import polars as pl
import pytest

from eimf.errors import DataError, SettingError
from pipeline.stages.vector_file import VectorFile, read_vector_file, vector_file

IDS = ["a", "b", "c"]


def written(folder, **columns) -> VectorFile:
    pl.DataFrame(columns).write_parquet(folder / "v.parquet")
    return vector_file(f"mine={folder / 'v.parquet'}")


def test_items_get_their_vectors_and_others_none(tmp_path):
    file = written(tmp_path, item_id=["c", "x", "a"], vector=[[1.0, 2.0], [9.0, 9.0], [3.0, 4.0]])
    np.testing.assert_array_equal(read_vector_file(file, IDS), [[3, 4], [0, 0], [1, 2]])


def test_ids_may_be_numbers(tmp_path):
    file = written(tmp_path, item_id=[7], vector=[[1.0]])
    np.testing.assert_array_equal(read_vector_file(file, ["7"]), [[1.0]])


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"item_id": ["x"], "vector": [[1.0]]}, "none of its 1 ids is an item of the dataset, such as 'a'"),
        ({"item_id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, "its vectors have 2 lengths"),
        ({"item_id": ["a", "b"], "vector": [[1.0], None]}, "its vectors have 2 lengths"),
        ({"item_id": ["a"], "vector": [[float("nan")]]}, "a number is not finite"),
        ({"item_id": ["a"], "title": ["t"]}, "cannot be read"),
        ({"item_id": ["a"], "vector": ["t"]}, "cannot be read"),
        ({"item_id": [], "vector": []}, "it has no row"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(tmp_path, columns, problem):
    file = written(tmp_path, **columns)
    with pytest.raises(DataError, match=problem) as caught:
        read_vector_file(file, IDS)
    assert "\n" not in str(caught.value) and "mine" in str(caught.value)


def test_a_file_that_is_no_parquet_is_one_clear_line(tmp_path):
    (tmp_path / "v.parquet").write_text("no")
    with pytest.raises(DataError, match="cannot be read"):
        read_vector_file(vector_file(f"mine={tmp_path / 'v.parquet'}"), IDS)


@pytest.mark.parametrize("text", ["v.parquet", "=v.parquet", "mine="])
def test_a_file_needs_a_name(text):
    with pytest.raises(SettingError, match="is not NAME=FILE; write it like"):
        vector_file(text)


def test_a_missing_file_says_so():
    with pytest.raises(SettingError, match=r"--vectors: no file nowhere.parquet; give a Parquet file"):
        vector_file("mine=nowhere.parquet")
