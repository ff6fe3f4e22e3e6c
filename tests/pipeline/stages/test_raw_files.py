"""Which files a recipe names, and what identifies them."""

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from eimf.config import DatasetSettings
from eimf.data.formats.base import RawData
from eimf.errors import DataError, ModelError, SettingError
from pipeline.backends.assets import ASSETS
from pipeline.cli import run
from pipeline.stages.raw_files import find_files, raw_identity, resolve_files
from tests.data.test_source import write_zip

MOVIES = {"ml/ratings.dat": b"1::2::5::7\n", "ml/movies.dat": b"2::Alien (1979)::Horror\n"}
EVENTS = b"user_id,item_id,order\nu,a,1\n"


def write(folder: Path, **files: bytes) -> Path:
    """Files called like their keyword, with the ending .csv."""
    for name, content in files.items():
        (folder / f"{name}.csv").write_bytes(content)
    return folder


def settings(**values: str) -> DatasetSettings:
    return DatasetSettings(name="x", **values)


def identity_of(chosen: DatasetSettings, folder: Path) -> dict[str, str | None]:
    return raw_identity(chosen, find_files(chosen, folder))


def names(raw: RawData) -> tuple[str, list[str], str, list[str]]:
    """Formats and names of event and item files."""
    files = ([file.name for file in kind] for kind in (raw.event_files, raw.item_files))
    events, items = files
    return raw.format.name, events, raw.item_format.name, items


def test_a_path_gives_events_and_items_and_each_can_be_replaced(tmp_path):
    write_zip(write(tmp_path, mine=b"item_id,title\n2,Alien\n", log=EVENTS) / "ml.zip", MOVIES)
    whole = ("movielens", ["ml/ratings.dat"], "movielens", ["ml/movies.dat"])
    assert names(resolve_files(settings(path="ml.zip"), tmp_path)) == whole
    own_events = resolve_files(settings(path="ml.zip", interactions="log.csv"), tmp_path)
    assert names(own_events) == ("table", ["log.csv"], *whole[2:])
    known = resolve_files(settings(path="ml.zip", interactions="ml.zip/ml/ratings.dat"), tmp_path)
    assert names(known) == whole
    renamed = resolve_files(settings(path="ml.zip", interactions="log.csv", format="movielens"), tmp_path)
    assert names(renamed) == ("movielens", ["log.csv"], *whole[2:])
    own_items = resolve_files(settings(path="ml.zip", items="mine.csv"), tmp_path)
    assert names(own_items) == (*whole[:2], "table", ["mine.csv"])
    in_zip = settings(interactions="ml.zip", items="ml.zip/ml/movies.dat", format="movielens")
    assert names(resolve_files(in_zip, tmp_path)) == whole
    for alone in (settings(path="log.csv"), settings(interactions="log.csv")):
        assert names(resolve_files(alone, tmp_path)) == ("table", ["log.csv"], "table", [])


def test_a_folder_of_events_is_read_as_a_whole_and_one_of_a_table_by_names(tmp_path):
    write(tmp_path, interactions=EVENTS, more=EVENTS, items=b"item_id,title\na,x\n")
    every = ["interactions.csv", "items.csv", "more.csv"]
    assert names(resolve_files(settings(interactions="."), tmp_path))[1] == every
    assert names(resolve_files(settings(path="."), tmp_path)) == ("table", every[:1], "table", every[1:2])
    assert names(resolve_files(settings(interactions="[im]*s.csv"), tmp_path))[1] == every[:2]


def test_a_folder_without_files_of_a_format_says_what_is_expected(tmp_path):
    write(tmp_path, one=EVENTS, two=EVENTS)
    message = r"looks like no published format, and has no events of a table, in interactions\.\* .*`eimf data formats`"
    with pytest.raises(DataError, match=message):
        resolve_files(settings(path="."), tmp_path)
    message = r"dataset\.path: \S+ has no events of a movielens, in u\.data or ratings\.dat or ratings\.csv"
    with pytest.raises(DataError, match=message):
        resolve_files(settings(path=".", format="movielens"), tmp_path)


def test_no_files_of_events_are_one_line(tmp_path):
    with pytest.raises(SettingError, match=r"dataset\.interactions: neither dataset\.path nor dataset\.interactions"):
        resolve_files(settings(items="i.csv"), write(tmp_path, i=b"item_id\na\n"))
    for field in ("path", "interactions", "items"):
        given = {"interactions": "log.csv", field: "none.csv"}
        with pytest.raises(DataError, match=rf"dataset\.{field}: no file or folder .*none\.csv"):
            resolve_files(settings(**given), write(tmp_path, log=EVENTS))


def test_a_plain_file_is_identified_by_its_bytes_and_several_by_their_names_too(tmp_path):
    write(tmp_path, a=EVENTS, b=EVENTS)
    plain = f"sha256:{hashlib.sha256(EVENTS).hexdigest()}"
    wanted = {"format": "table", "item_format": "table", "events": plain, "items": None}
    assert identity_of(settings(interactions="a.csv"), tmp_path) == wanted
    assert identity_of(settings(path=str(tmp_path / "b.csv")), Path("/")) == wanted
    identities = {identity_of(settings(interactions="*.csv"), tmp_path)["events"]}
    (tmp_path / "b.csv").rename(tmp_path / "c.csv")
    identities.add(identity_of(settings(interactions="*.csv"), tmp_path)["events"])
    (tmp_path / "c.csv").write_bytes(EVENTS * 2)
    identities.add(identity_of(settings(interactions="*.csv"), tmp_path)["events"])
    assert len(identities - {plain}) == 3


def test_files_in_an_archive_are_identified_by_its_bytes_and_their_names(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"a.csv": EVENTS, "b.csv": EVENTS})
    one, other = (identity_of(settings(interactions=f"a.zip/{name}.csv"), tmp_path)["events"] for name in "ab")
    assert one != other
    archive.rename(tmp_path / "b.zip")
    assert identity_of(settings(interactions="b.zip/a.csv"), tmp_path)["events"] == one
    write_zip(tmp_path / "b.zip", {"a.csv": EVENTS, "c.csv": EVENTS})
    assert identity_of(settings(interactions="b.zip/a.csv"), tmp_path)["events"] != one


def test_assets_are_identified_without_being_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("EIMF_CACHE", str(tmp_path / "none"))
    asset = settings(interactions="asset:ml-100k/ml-100k.inter", items="asset:ml-100k/ml-100k.item")
    identity = ASSETS["ml-100k"].identity
    wanted = {"format": "auto", "events": f"{identity} ml-100k.inter", "items": f"{identity} ml-100k.item"}
    assert identity_of(asset, tmp_path) == wanted
    assert not (tmp_path / "none").exists()
    with pytest.raises(ModelError, match=r"dataset\.interactions: no asset 'ml-200k'"):
        identity_of(settings(interactions="asset:ml-200k/x"), tmp_path)


def cut_gzip(folder: Path) -> Path:
    (folder / "events.csv.gz").write_bytes(gzip.compress(EVENTS * 50)[:-9])
    return folder / "events.csv.gz"


def outside(folder: Path) -> Path:
    return write_zip(folder / "a.zip", {"../interactions.csv": EVENTS})


def two_formats(folder: Path) -> Path:
    review = b'{"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 7}\n'
    return write_zip(folder / "both.zip", {**MOVIES, "reviews_Beauty_5.json": review})


def table_twice(folder: Path) -> Path:
    (folder / "interactions.jsonl").write_bytes(b'{"user_id": "u", "item_id": "a", "order": 1}\n')
    return write(folder, interactions=EVENTS)


def bad_row(folder: Path) -> Path:
    return write_zip(folder / "ml.zip", {**MOVIES, "ml/ratings.dat": b"1::2::5::7\n1::2::5\n"})


def no_format(folder: Path) -> Path:
    return write(folder, one=EVENTS, two=EVENTS)


def empty_folder(folder: Path) -> Path:
    return folder


def hidden_file(folder: Path) -> Path:
    (folder / ".interactions.csv").write_bytes(EVENTS)
    return folder


def empty_file(folder: Path) -> Path:
    return write(folder, interactions=b"")


def not_utf_8(folder: Path) -> Path:
    name = os.fsdecode(b"caf\xe9.csv")
    (folder / name).write_bytes(EVENTS)
    return folder / name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (cut_gzip, "cannot be read (Compressed file ended before the end-of-stream marker"),
        (outside, "the path ../interactions.csv leaves the folder"),
        (two_formats, "looks like amazon-2014 and movielens; set dataset.format"),
        (table_twice, "interactions.jsonl are in different formats; name one of them"),
        (bad_row, "ml.zip/ml/ratings.dat cannot be read (line 2 has 3 fields"),
        (no_format, "has no events of a table, in interactions.* or events.*"),
        (empty_folder, "no file or folder "),
        (hidden_file, "holds no visible file"),
        (empty_file, "interactions.csv is empty"),
        (not_utf_8, "is not UTF-8; rename that file"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_bad_files_are_one_line_of_the_command_and_nothing_is_written(tmp_path, capfd, make, message):
    (tmp_path / "data").mkdir()
    path = make(tmp_path / "data")
    before = sorted(tmp_path.rglob("*"))
    assert run(["esim", "--dataset", str(path), "--store", str(tmp_path / "store")]) == 2
    error = capfd.readouterr().err
    field = "dataset.interactions" if make is empty_folder else "dataset.path"
    assert error.startswith(f"eimf: {field}: ") and error.count("\n") == 1 and message in error
    assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file()] == [p for p in before if p.is_file()]
