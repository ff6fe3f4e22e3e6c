"""A bundle goes through a bucket: whole or not at all, and never over anything else."""

import re
import time
from pathlib import Path

import pytest

from eimf.errors import ArtifactError, SettingError
from eimf.serving.bundle import read_bundle
from eimf.serving.manifest import MANIFEST
from eimf.store.objects import Objects
from pipeline.bundles import Place, check_free, fetch, place_of, publish
from pipeline.http.follow import follow
from pipeline.http.logs import Log
from tests.pipeline.http import bundles


@pytest.fixture(scope="module")
def shops(tmp_path_factory) -> list[Path]:
    """Two bundles."""
    folder = tmp_path_factory.mktemp("shops")
    return [bundles.write(folder / str(seed), seed=seed) for seed in (1, 2)]


@pytest.fixture
def at(bucket, tmp_path, monkeypatch):
    """The place in the bucket as the machine of this name sees it."""

    def place(machine: str) -> Place:
        monkeypatch.setenv("EIMF_CACHE", str(tmp_path / machine))
        return place_of(bucket)

    return place


@pytest.fixture
def objects(bucket):
    return Objects(bucket)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_serving_node_gets_what_a_training_node_has_published(at, bucket, shops, capsys):
    node, server = at("training node"), at("serving node")
    assert node.folder != server.folder
    for shop in shops:
        publish(Place(shop, node.objects))
        assert fetch(server) and not fetch(server)
        assert content(server.folder) == content(shop)
    capsys.readouterr()
    publish(Place(shops[1], node.objects))
    digest = read_bundle(shops[1]).manifest.digest
    assert capsys.readouterr().out == f"{bucket}: has the bundle {digest[:12]}, 0.0 MB sent\n"


def test_until_all_files_have_arrived_the_old_bundle_is_the_one(at, objects, shops):
    server = at("serving node")
    publish(Place(shops[0], objects))
    fetch(server)
    new = read_bundle(shops[1]).manifest
    for name in list(new.files)[:3]:  # killed here
        objects.upload(f"{new.files[name].sha256}/{name}", shops[1] / name)
    assert not fetch(server) and content(server.folder) == content(shops[0])
    publish(Place(shops[1], objects))
    assert fetch(server) and content(server.folder) == content(shops[1])


def test_a_copy_that_is_damaged_is_fetched_again(at, objects, shops):
    server = at("serving node")
    publish(Place(shops[0], objects))
    fetch(server)
    (server.folder / "items.jsonl").write_text("{}")
    assert fetch(server) and content(server.folder) == content(shops[0])


def test_what_is_no_whole_bundle_is_refused_and_the_old_one_stays(at, bucket, objects, shops):
    server = at("serving node")
    with pytest.raises(ArtifactError, match=f"{bucket}: there is no bundle; run `eimf export --output {bucket}`"):
        fetch(server)
    publish(Place(shops[0], objects))
    fetch(server)
    manifest = read_bundle(shops[1]).manifest
    publish(Place(shops[1], objects))
    name = f"{manifest.files['items.jsonl'].sha256}/items.jsonl"
    for data, problem in [
        (b"{}", "damaged: 2 bytes, not the"),
        (b" " * (manifest.files["items.jsonl"].bytes + 1), "larger than its manifest says"),
        (b" " * manifest.files["items.jsonl"].bytes, "damaged: its bytes differ from the sha256"),
        (None, "object is missing"),
    ]:
        objects.write(name, data) if data else objects.remove([name])
        with pytest.raises(ArtifactError, match=rf"{re.escape(bucket)}: not a whole bundle \({problem}"):
            fetch(server)
    objects.write(MANIFEST, (shops[1] / MANIFEST).read_bytes().replace(b'"items.jsonl"', b'"../items.json"'))
    with pytest.raises(ArtifactError, match=r"not a whole bundle \(files"):
        fetch(server)
    assert content(server.folder) == content(shops[0])
    assert [path.suffix for path in server.folder.parent.iterdir()] == [""]


def test_a_bundle_has_a_prefix_of_its_own(at, bucket, objects, shops):
    objects.write("eimf-store.json", b"{}")
    with pytest.raises(ArtifactError, match=f"{bucket}: holds 'eimf-store.json', which is no part of a bundle"):
        check_free(at("training node"))
    objects.remove(["eimf-store.json"])
    publish(Place(shops[0], objects))
    check_free(at("training node"))
    check_free(place_of("any/folder"))
    with pytest.raises(SettingError, match="'gs://b/x' is of no known kind"):
        place_of("gs://b/x")


def test_a_new_bundle_is_brought_while_the_old_one_is_served(at, objects, shops, capsys):
    server = at("serving node")
    publish(Place(shops[0], objects))
    fetch(server)
    end = follow(server, Log(), seconds=0.05)
    publish(Place(shops[1], objects))
    wait_until(lambda: content(server.folder) == content(shops[1]))
    objects.remove([MANIFEST])
    wait_until(lambda: "bundle not fetched" in capsys.readouterr().err)
    time.sleep(0.2)
    assert capsys.readouterr().err == ""  # it is said once
    publish(Place(shops[0], objects))
    wait_until(lambda: content(server.folder) == content(shops[0]))
    end.set()


def wait_until(condition) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            if condition():
                return
        except FileNotFoundError:  # the folder is being exchanged
            pass
        assert time.monotonic() < end
        time.sleep(0.02)
