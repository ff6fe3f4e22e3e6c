"""The formats by name, and how one of them is found."""

import pytest

from eimf.data.formats.registry import FORMATS, TABLE, find_format
from eimf.errors import DataError, SettingError
from tests.data.formats.importing import write_source

MOVIES = {"ml/ratings.dat": "1::2::5::7\n", "ml/movies.dat": "2::Alien (1979)::Horror\n"}
REVIEW = '{"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 7}\n'


def test_a_format_is_found_by_its_name_and_by_its_files(tmp_path):
    movies = write_source(tmp_path / "movies", MOVIES)
    assert all(find_format(name, movies) is kind and kind.name == name for name, kind in FORMATS.items())
    assert find_format("auto", movies).name == "movielens"
    table = write_source(tmp_path / "table", {"interactions.csv": "user_id,item_id,order\nu,a,1\n", "notes.json": "{"})
    assert find_format("auto", table).name == TABLE


def test_an_unknown_format_is_one_line_with_all_that_there_are(tmp_path):
    with pytest.raises(SettingError, match=r"dataset\.format: no format 'movie'; use auto or one of .*'table'.*'yelp'"):
        find_format("movie", write_source(tmp_path, MOVIES))


def test_two_formats_in_one_folder_are_both_named_with_the_setting_that_chooses(tmp_path):
    both = write_source(tmp_path, {**MOVIES, "reviews_Beauty_5.json": REVIEW})
    message = r"dataset\.path: .* looks like amazon-2014 and movielens; set dataset\.format to one of them"
    with pytest.raises(DataError, match=message):
        find_format("auto", both)
    assert find_format("movielens", both).name == "movielens"


def test_a_table_next_to_published_files_is_named_too_but_no_other_file(tmp_path):
    files = {**MOVIES, "notes.csv": "x\n"}
    assert find_format("auto", write_source(tmp_path / "one", files)).name == "movielens"
    both = write_source(tmp_path / "both", {**files, "interactions.csv": "user_id,item_id,order\nu,a,1\n"})
    with pytest.raises(DataError, match=r"dataset\.path: .* looks like movielens and table; set dataset\.format"):
        find_format("auto", both)
