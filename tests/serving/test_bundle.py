"""A bundle of anybody is read, or refused in one line, before any memory is taken for it."""

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eimf.errors import ArtifactError
from eimf.serving import manifest as names
from eimf.serving.bundle import read_bundle
from eimf.serving.recommend import Recommender
from tests.pipeline.http.bundles import ITEM_IDS, ITEMS, TITLES
from tests.serving.bundles import LABELS, forge, labelled, resign


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return labelled(tmp_path_factory.mktemp("bundles") / "whole")


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def refused(folder: Path, part: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        Recommender.load(folder)
    message = str(caught.value)
    assert part in message and len(message.splitlines()) == 1 and len(message) < 700


def test_a_whole_bundle(whole):
    bundle = read_bundle(whole)
    assert bundle.item_ids == ITEM_IDS and bundle.titles == TITLES
    assert np.array_equal(bundle.item_vectors, np.load(whole / names.ITEM_VECTORS))
    assert np.array_equal(bundle.cold_start.recent, np.load(whole / names.ITEM_SCORES)[:, 0])
    assert bundle.labels is not None and bundle.labels.names == list(LABELS) and bundle.labels.menu == [2, 0]
    assert not bundle.item_vectors.flags.writeable
    assert bundle.manifest.files.keys() == {path.name for path in whole.iterdir()} - {names.MANIFEST}
    model = Recommender.load(str(whole))
    assert [entry.name for entry in model.menu()] == ["desk lamps", "gel pens"]
    assert model.menu(1)[0].item_ids == tuple(ITEM_IDS[:2])


def test_it_is_mapped_and_stays_when_the_folder_is_removed(folder):
    model = Recommender.load(folder)
    before = model.recommend_one(ITEM_IDS[:3])
    shutil.rmtree(folder)
    assert model.recommend_one(ITEM_IDS[:3]) == before
    refused(folder, "cannot be opened (No such file or directory)")


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "cannot be opened (Not a directory)")
    refused(tmp_path, "bundle.json: cannot be opened (No such file or directory)")
    refused(Path("a\0b"), "cannot be opened (not a path)")


@pytest.mark.parametrize("name", sorted(names.ALWAYS | names.WITH_LABELS))
def test_a_file_that_changed(folder, name):
    path = folder / name
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused(folder, f"{name}: damaged: its bytes differ from the sha256")
    path.write_bytes(data + b"x")
    refused(folder, f"{name}: damaged: {len(data) + 1} bytes, not the {len(data)} of the manifest")
    path.unlink()
    refused(folder, f"{name}: cannot be opened (No such file")
    path.symlink_to("/etc/passwd")
    refused(folder, f"{name}: cannot be opened (Too many levels of symbolic links)")
    path.unlink()
    os.mkfifo(path)
    refused(folder, f"{name}: is not a regular file")
    path.unlink()
    path.mkdir()
    refused(folder, f"{name}: is not a regular file")


ENTRY = {"bytes": 1, "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"schema_version": 1}, "schema version 1, this EIMF reads 2; export it again"),
        ({"schema_version": 10**400}, "schema version 10000"),
        ({"schema_version": ...}, "schema_version"),
        ({"schema_version": "2"}, "schema_version"),
        ({"more": 1}, "more: "),
        ({"model": ...}, "model: "),
        ({"model": {"backbone": "x"}}, "model.width"),
        ({"index": {"kind": "flat", "parameters": {}, "recall": None}}, "index.kind"),
        ({"index": {"kind": "hnsw", "parameters": {}, "recall": None}}, "names no file index.faiss"),
        ({"labels": None}, "names the file 'item_labels.npy', which no such bundle has"),
        (
            {"labels": {"count": 4, "threshold": 0.5, "item_threshold": None, "figures": {}}},
            "shape [3, 8], not <f4 [4, 8]",
        ),
        ({"labels": {"count": 0, "threshold": 0.5}}, "labels.count"),
        ({"labels": {"count": 10**9, "threshold": 0.5, "item_threshold": None, "figures": {}}}, "label_vectors.npy"),
        ({"files": {}}, "names no file README.md"),
        ({"digest": "x"}, ""),
        ({"source": {"checkpoint": "x", "dataset": "0" * 64, "esim": None}}, "source.checkpoint"),
        ({"created": 5}, "created"),
    ],
)
def test_a_manifest_that_does_not_fit(folder, fields, part):
    forge(folder, **fields)
    if "digest" in fields:
        values = {**json.loads((folder / names.MANIFEST).read_text()), **fields}
        (folder / names.MANIFEST).write_text(json.dumps(values))
    refused(folder, part)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", ".hidden", "", "x" * 200, "..", "more.bin", "a\nb"])
def test_a_name_that_no_bundle_has(folder, name):
    files = json.loads((folder / names.MANIFEST).read_text())["files"]
    (folder.parent / "x").write_text("x")
    forge(folder, files={**files, name: ENTRY})
    refused(folder, "bundle.json: ")


@pytest.mark.parametrize(("base_width", "part"), [(0, "base_width"), (9, "9 is larger than width 8"), (5, "[3, 8]")])
def test_another_base_width(folder, base_width, part):
    model = json.loads((folder / names.MANIFEST).read_text())["model"]
    forge(folder, model={**model, "base_width": base_width})
    refused(folder, part)


@pytest.mark.parametrize("size", [-1, 10**6, 2**60, 10**400, 1.5, "5", None, True])
def test_a_size_that_is_none(folder, size):
    files = json.loads((folder / names.MANIFEST).read_text())["files"]
    forge(folder, files={**files, names.ITEM_SCORES: {**files[names.ITEM_SCORES], "bytes": size}})
    refused(folder, "item_scores.npy")


@pytest.mark.parametrize("items", [0, ITEMS - 1, ITEMS + 1, 2**31 - 1, 10**30])
def test_another_number_of_items(folder, items):
    model = json.loads((folder / names.MANIFEST).read_text())["model"]
    forge(folder, model={**model, "num_items": items})
    refused(folder, "model.num_items" if items in (0, 10**30) else f"not <i4 [{items}]")


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"[" * 100_000, b"\xff", b'{"a":' * 9999, b"{}" + b" " * 2**20])
def test_a_manifest_that_is_none(folder, data):
    (folder / names.MANIFEST).write_bytes(data)
    refused(folder, "bundle.json: ")


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (61, 8), }"


@pytest.mark.parametrize(
    ("magic", "header", "part"),
    [
        (b"\x93NUMPY\x01\x00", HEADER.replace("61", str(10**12)), "of type <f4 and shape [1000000000000, 8], not"),
        (b"\x93NUMPY\x01\x00", HEADER.replace("<f4", "<f8"), "of type <f8"),
        (b"\x93NUMPY\x01\x00", HEADER.replace("<f4", "|O"), "of type |O"),
        (b"\x93NUMPY\x01\x00", HEADER.replace("False", "True"), "is not an array that EIMF wrote"),
        (b"\x93NUMPY\x01\x00", HEADER.replace("61", "__import__('os')"), "is not an array that EIMF wrote"),
        (b"\x93NUMPY\x01\x00", "(" * 60_000, "is not an array that EIMF wrote"),
        (b"\x93NUMPY\x02\x00", HEADER, "is not an array that EIMF wrote"),
        (b"PK\x03\x04", HEADER, "is not an array that EIMF wrote"),
    ],
)
def test_a_header_of_another_array(folder, magic, header, part):
    text = header.encode() + b"\n"
    path = folder / names.ITEM_VECTORS
    path.write_bytes(magic + len(text).to_bytes(2, "little") + text + bytes(61 * 8 * 4))
    resign(folder, names.ITEM_VECTORS)
    refused(folder, part)


def test_an_array_that_is_too_short_or_too_long(folder):
    path = folder / names.ITEM_SCORES
    data = path.read_bytes()
    for changed in (data[:-4], data + b"1234", data[:8], b""):
        path.write_bytes(changed)
        resign(folder, names.ITEM_SCORES)
        refused(folder, "item_scores.npy: ")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [names.ITEM_VECTORS, names.ITEM_SCORES, names.LABEL_VECTORS])
def test_numbers_that_are_not_finite(folder, name, value):
    array = np.load(folder / name)
    array.flat[-1] = value
    np.save(folder / name, array)
    resign(folder, name)
    refused(folder, f"{name}: holds a number that is not finite")


def test_padding_that_is_an_item(folder):
    array = np.load(folder / names.ITEM_VECTORS)
    array[0, 0] = 1
    np.save(folder / names.ITEM_VECTORS, array)
    resign(folder, names.ITEM_VECTORS)
    refused(folder, "its row 0, which is padding, is not zero")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda lines: [*lines[:-1], lines[0]], "an item_id occurs twice"),
        (lambda lines: lines[:-1], "59 items, not the 60"),
        (lambda lines: [*lines, '{"item_id": "more", "title": null}'], "61 items, not the 60"),
        (lambda lines: ["[" * 50_000, *lines[1:]], "line 1 is not an item"),
        (lambda lines: ['{"item_id": 1, "title": null}', *lines[1:]], "line 1 is not an item"),
        (lambda lines: ['{"item_id": "\\ud800", "title": null}', *lines[1:]], "line 1 is not an item"),
        (lambda lines: ['{"item_id": "a", "title": ["b"]}', *lines[1:]], "line 1 is not an item"),
        (lambda lines: [lines[0], '{"item_id": "a", "title": null, "x": 1}', *lines[2:]], "line 2 is not an item"),
        (lambda lines: ['["item_id", "title"]', *lines[1:]], "line 1 is not an item"),
        (lambda lines: ['{"item_id": "' + "x" * 70_000 + '", "title": null}', *lines[1:]], "line 1 is not an item"),
        (lambda lines: [*lines[:-1], " " * 2_000_000], "more than such a file can have"),
    ],
)
def test_items_that_are_none(folder, change: Callable[[list[str]], list[str]], part):
    path = folder / names.ITEMS
    path.write_text("\n".join(change(path.read_text().splitlines())))
    resign(folder, names.ITEMS)
    refused(folder, part)


def test_ids_of_ten_thousand_characters(folder):
    ids = [f"{number}{'x' * 10_000}" for number in range(ITEMS)]
    (folder / names.ITEMS).write_text("\n".join(json.dumps({"item_id": item_id, "title": None}) for item_id in ids))
    resign(folder, names.ITEMS)
    assert Recommender.load(folder).item_ids == ids


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda file: file["labels"].pop(), "not 3 different names"),
        (lambda file: file["labels"][0].update(name="desk lamps"), "not 3 different names"),
        (lambda file: file["labels"][0].update(name=""), "labels.0.name"),
        (lambda file: file["labels"][0].update(more=1), "labels.0.more"),
        (lambda file: file["labels"][0].update(item_idx=[0]), "labels.0.item_idx.0"),
        (lambda file: file["labels"][0].update(item_idx=[61]), "an example is no item of 1 to 60"),
        (lambda file: file.update(menu=[3]), "the menu does not hold different numbers from 0 to 2"),
        (lambda file: file.update(menu=[-1]), "the menu does not hold"),
        (lambda file: file.update(menu=[1, 1]), "the menu does not hold"),
        (lambda file: file.update(menu=None), "menu"),
    ],
)
def test_labels_that_are_none(folder, change, part):
    file = json.loads((folder / names.LABELS).read_text())
    change(file)
    (folder / names.LABELS).write_text(json.dumps(file))
    resign(folder, names.LABELS)
    refused(folder, part)


@pytest.mark.parametrize("number", [-2, 3, 2**31 - 1])
def test_a_label_that_no_item_can_have(folder, number):
    array = np.load(folder / names.ITEM_LABELS)
    array[5] = number
    np.save(folder / names.ITEM_LABELS, array)
    resign(folder, names.ITEM_LABELS)
    refused(folder, "item_labels.npy: holds a number that is not -1 to 2")


def test_a_tower_that_is_none(folder):
    for data in (b"", b"not a model", bytes(1000)):
        (folder / names.TOWER).write_bytes(data)
        resign(folder, names.TOWER)
        refused(folder, "user_tower.onnx")


def test_a_huge_file_takes_no_memory(folder):
    path = folder / names.CARD
    os.truncate(path, 3 << 30)
    files = json.loads((folder / names.MANIFEST).read_text())["files"]
    forge(folder, files={**files, names.CARD: {**ENTRY, "bytes": 3 << 30}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(folder, "more than such a file can have")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
