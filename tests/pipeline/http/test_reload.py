"""A new bundle takes the place of the old one at once and whole; a broken one does not."""

import gc
import json
import shutil
import weakref

import pytest

from eimf.errors import UserError
from eimf.serving import manifest as names
from pipeline.http.logs import Log
from pipeline.http.metrics import Metrics
from pipeline.http.reload import Reloader, load
from tests.pipeline.http import bundles


@pytest.fixture
def place(tmp_path, bundle):
    """A link to a bundle."""
    bundles.put(bundle, tmp_path / "served")
    return tmp_path / "served"


def events(client, name: str) -> list[dict]:
    return [line for line in map(json.loads, client.log.getvalue().splitlines()) if line["event"] == name]


def look(client, times: int = 3) -> None:
    for _ in range(times):
        client.reloader.look()


def answer(client) -> dict:
    return client.post("/recommend", json={"history": ["i001", "i002"]}).json()


def test_another_bundle_by_a_link(connect, place, other):
    client = connect(place)
    before = answer(client)
    look(client)
    assert len(events(client, "bundle loaded")) == 1  # the same files: not loaded again
    bundles.put(other, place)
    look(client)
    after = answer(client)
    assert after["bundle"] == load(other).name != before["bundle"] and after["items"] != before["items"]
    assert [line["replaces"] for line in events(client, "bundle loaded")] == [None, before["bundle"]]
    lines = client.get("/metrics").text.splitlines()
    assert f'eimf_bundle_processes{{bundle="{before["bundle"]}"}} 0.0' in lines
    assert 'eimf_reloads_total{result="loaded"} 2.0' in lines


def test_another_bundle_by_a_rename(connect, tmp_path, bundle, other):
    folder = bundles.copy(bundle, tmp_path / "bundle")
    client = connect(folder)
    new = bundles.copy(other, tmp_path / "new")
    folder.rename(tmp_path / "old")
    look(client)  # nothing there for a moment
    new.rename(folder)
    shutil.rmtree(tmp_path / "old")  # its files stay mapped
    assert answer(client)["bundle"] == load(bundle).name
    look(client)
    assert answer(client)["bundle"] == load(other).name


def test_a_broken_bundle_is_refused_once_and_the_old_one_serves(connect, place, other, tmp_path):
    client = connect(place)
    before = answer(client)
    broken = bundles.copy(other, tmp_path / "broken")
    with (broken / names.ITEM_VECTORS).open("r+b") as file:
        file.seek(1000)
        file.write(b"x")
    bundles.put(broken, place)
    look(client, 10)
    assert answer(client) == before
    (refused,) = events(client, "bundle refused")
    assert "sha256" in refused["problem"] and "\n" not in refused["problem"] and refused["serving"] == before["bundle"]
    assert 'eimf_reloads_total{result="refused"} 1.0' in client.get("/metrics").text
    place.unlink()
    look(client, 5)
    assert answer(client) == before and len(events(client, "bundle refused")) == 2
    bundles.put(other, place)
    look(client)
    assert answer(client)["bundle"] == load(other).name


def test_files_that_still_change_are_left_alone_and_a_signal_does_not_wait(connect, tmp_path, bundle, other):
    folder = bundles.copy(bundle, tmp_path / "bundle")
    client = connect(folder)
    for number in range(3):
        (folder / "part").write_text("x" * number)
        client.reloader.look()
    assert len(events(client, "bundle loaded")) == 1
    bundles.put(other, tmp_path / "link")
    client.reloader.folder = tmp_path / "link"
    client.reloader.look(at_once=True)
    assert answer(client)["bundle"] == load(other).name


def test_the_old_bundle_is_freed_after_the_last_request(connect, place, other):
    client = connect(place)
    in_progress = client.reloader.current
    old, table = weakref.ref(in_progress.recommender), weakref.ref(in_progress.recommender.tower)
    bundles.put(other, place)
    look(client)
    gc.collect()
    assert in_progress.recommender.recommend_one(["i001"]).items and old() is not None
    del in_progress
    gc.collect()
    assert old() is None and table() is None


def test_the_first_bundle_must_be_whole(tmp_path, bundle):
    broken = bundles.copy(bundle, tmp_path / "broken")
    (broken / names.TOWER).write_bytes(b"no model")
    for folder in (broken, tmp_path / "none"):
        with pytest.raises(UserError):
            Reloader(folder, Log(), Metrics()).load_first()
    bundles.sign(broken)  # its hashes fit, but it is no model
    with pytest.raises(UserError):
        Reloader(broken, Log(), Metrics()).load_first()
