"""The command `eimf data card`, from raw files to a page."""

import json
from pathlib import Path

import pytest

from eimf.store.artifact import Store
from pipeline.cli import run
from tests import world as planted


@pytest.fixture(scope="module")
def built(tmp_path_factory, world_folder) -> Path:
    """A store with the dataset, as the command built it."""
    store = tmp_path_factory.mktemp("store")
    assert run(["data", "card", "-d", str(world_folder), "-s", str(store), "-o", str(store / "card.html")]) == 0
    return store


def test_the_dataset_is_built_once_and_a_page_written(built, world_folder, capsys):
    assert run(["data", "card", "-d", str(world_folder), "-s", str(built)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("hit     1 dataset") and f"{planted.USERS} users, 48 items" in shown
    assert "card.html" not in shown and [kind for kind, _ in Store(built).listing()] == ["dataset"]
    page = (built / "card.html").read_text()
    assert page.startswith("<!doctype html>") and f"<dd>{planted.USERS}</dd>" in page


def test_a_key_is_enough_and_json_is_alone_on_standard_output(built, capsys):
    [(_, key)] = Store(built).listing()
    assert run(["data", "card", key[:12], "-s", str(built), "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["key"] == key and card["card"]["users"] == planted.USERS
    assert [case["split"] for case in card["card"]["cases"]] == ["valid", "test"]


def test_what_a_killed_process_left_is_removed(tmp_path, world_folder):
    half = tmp_path / "tmp" / ("0" * 32)
    half.mkdir(parents=True)
    (half / "item_idx.npy").write_bytes(b"half")
    half.with_suffix(".lock").write_bytes(b"eimf: temporary folder\n")
    assert run(["data", "card", "-d", str(world_folder), "-s", str(tmp_path)]) == 0
    assert not list((tmp_path / "tmp").iterdir())


def test_json_of_a_new_dataset_is_alone_too(tmp_path, world_folder, capsys):
    assert run(["data", "card", "-d", str(world_folder), "-s", str(tmp_path), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["name"] == world_folder.name and "built   1 dataset" in captured.err


def test_without_raw_files_the_lock_file_says_which_dataset(tmp_path, capsys):
    folder = planted.world().write(tmp_path / "data")
    recipe = tmp_path / "my.toml"
    files = 'interactions = "data/interactions.parquet"\nitems = "data/items.parquet"\n'
    recipe.write_text(f'[dataset]\nname = "mine"\n{files}')
    assert run(["data", "card", "-r", str(recipe), "-s", str(tmp_path / "store")]) == 0
    for file in folder.iterdir():
        file.unlink()
    capsys.readouterr()
    assert run(["data", "card", "-r", str(recipe), "-s", str(tmp_path / "store")]) == 0
    assert capsys.readouterr().out.startswith("mine  dataset ")
    assert run(["data", "card", "-r", str(recipe), "-s", str(tmp_path / "other")]) == 2
    assert "dataset.interactions: no file" in capsys.readouterr().err and not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-o", "card.pdf"], "card.pdf has the ending '.pdf'"),
        (["ab12", "-d", "ml-1m"], "a key together with options of a dataset"),
        (["ab12"], "0 artifacts of kind dataset begin with 'ab12'"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(arguments, problem, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["data", "card", "-s", str(tmp_path / "store"), *arguments]) == 2
    error = capsys.readouterr().err
    assert problem in error and error.count("\n") == 1 and not list(tmp_path.iterdir())
