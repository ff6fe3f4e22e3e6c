"""What `eimf data formats` prints."""

import inspect

import pytest

from eimf.config import ColumnSettings
from eimf.data.formats.base import Columns
from eimf.data.formats.registry import FORMATS
from eimf.errors import SettingError
from pipeline.report.formats import columns_by_setting, describe_format, show_formats


def test_every_format_is_listed_with_its_files_columns_and_notes(capsys):
    show_formats([])
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[:-1] if not line.startswith(" ")] == list(FORMATS)
    assert max(map(len, lines)) <= 100 and lines[-1].startswith("choose by --set dataset.format=NAME")
    words = " ".join(printed.split())
    for kind in FORMATS.values():
        for text in (kind.about, *kind.events, *kind.items, *columns_by_setting(kind), *kind.notes):
            assert " ".join(text.split()) in words, (kind.name, text)


def test_one_format_and_an_unknown_one(capsys):
    show_formats(["movielens"])
    assert capsys.readouterr().out.startswith("movielens ") and "hm" not in capsys.readouterr().out
    text = describe_format(FORMATS["movielens"])
    assert "columns user=userId item=movieId order=timestamp" in text and "text    title, genres" in text
    assert "item_key" not in describe_format(FORMATS["otto"])  # it has no item table
    with pytest.raises(SettingError, match=r"name: no format 'movie'; use one of \['table', "):
        show_formats(["movielens", "movie"])


def test_columns_of_formats_have_the_names_of_the_settings():
    names = set(inspect.signature(Columns).parameters)
    assert names - {"text"} == set(ColumnSettings.model_fields)  # text is the setting text.columns
