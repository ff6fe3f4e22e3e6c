"""Hostile and damaged bundles, whose digests are right most of the time: each is served, or refused with one line."""

import io
import json
import math
import os
import random
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from eimf.errors import UserError
from eimf.serving import manifest as names
from eimf.serving.recommend import Recommender
from tests.serving.bundles import LABELS, forge, labelled, resign

ODD: list[Any] = [None, True, -1, 0, 2, 2**31, 2**70, 1.5, math.nan, math.inf, "", "x", "../..", "\x1b[2J", "\ud800"]
ODD += ["0" * 64, "x" * 5000, [], {}, [1], {"x": 1}]
NAMES = ["../x", "/etc/passwd", "a/b", ".hidden", "..", "", "bundle.json", "more.bin", "index.faiss", "x" * 300, "a\nb"]
HEADERS = [
    ("<f4", "<f8"),
    ("<f4", "|O"),
    ("<i4", "<u8"),
    ("False", "True"),
    (", }", "}"),
    ("61", "9" * 30),
    ("(", "(("),
]
MEMORY = 1 << 30
"""Bytes of address space that an input may take, in addition to what is in use."""


@cache
def _whole(folder: Path) -> tuple[Path, Path]:
    """A bundle of a plain and one of a calibrated backbone."""
    bundles = labelled(folder / "whole"), labelled(folder / "calibrated", base_width=5)
    Recommender.load(bundles[0]).recommend_one([])  # loads onnxruntime
    return bundles


def run_one(rng: random.Random, folder: Path) -> str:
    """Change a copy of a bundle in one to three places, load it, and ask for everything that it can give."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(rng.choice(_whole(folder)), copy)
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(CHANGES)(rng, copy)
    try:
        with _limited_memory():
            _use(rng, Recommender.load(copy))
    except UserError as error:
        return str(error)
    return "ok"


def _use(rng: random.Random, model: Recommender) -> None:
    ids = model.item_ids
    histories = [rng.choices([*ids, "unheard of"], k=rng.choice((1, 3, 30))) for _ in range(3)]
    answers = model.recommend([*histories, []], count=5, diversity=rng.choice((0, 0.5)))
    answers += [model.recommend_for([*LABELS, "none"], history, allow=ids[3:]) for history in ([], histories[0])]
    model.menu()
    for answer in answers:
        scores = [item.score for item in answer.items]
        assert len(scores) <= len(ids) and all(map(math.isfinite, scores))
        assert all(item.item_id in ids for item in answer.items)


@contextmanager
def _limited_memory() -> Iterator[None]:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _file(rng: random.Random, folder: Path, *endings: str) -> Path:
    """A regular file of the bundle."""
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.is_symlink()]
    return rng.choice([path for path in paths if not endings or path.suffix in endings] or paths or [folder / "x"])


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() and path.stat().st_size < 1 << 20 else b""


def _signed(rng: random.Random, path: Path) -> None:
    """Often, let the manifest agree with what the file has become."""
    if path.name != names.MANIFEST and rng.random() < 0.85 and _values(path.parent) is not None:
        try:
            resign(path.parent, path.name)
        except (ValueError, TypeError, KeyError):  # it is no manifest any more, or holds NaN
            return


def _bytes(rng: random.Random, folder: Path) -> None:
    path = _file(rng, folder)
    data = bytearray(_content(path))
    kind = rng.randrange(4)
    if kind == 0 and data:
        for _ in range(rng.choice((1, 1, 4, 30))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1 and data:
        del data[rng.randrange(len(data)) :]
    elif kind == 2:
        data += rng.randbytes(rng.choice((1, 4, 300)))
    else:
        odd = json.dumps(rng.choice(ODD)).encode()
        data = bytearray(rng.choice((b"", b"null", b"[" * 100_000, b"\xff", rng.randbytes(300), odd)))
    path.write_bytes(data)
    _signed(rng, path)


def _kind(rng: random.Random, folder: Path) -> None:
    """Something else than a file, or nothing, or a file that is huge and empty."""
    path = _file(rng, folder)
    path.unlink(missing_ok=True)
    kind = rng.randrange(6)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.symlink_to(rng.choice(["/etc/passwd", "/dev/zero", ".", path.name, "bundle.json"]))
    elif kind == 3:
        path.touch()
        os.truncate(path, rng.choice((1 << 20, 100 << 20, 1 << 40)))
        if path.stat().st_size <= 100 << 20:
            _signed(rng, path)
        else:
            _forged(folder, ("files", path.name, "bytes"), path.stat().st_size)


def _swapped(rng: random.Random, folder: Path) -> None:
    one, other = _file(rng, folder), _file(rng, folder)
    other.write_bytes(_content(one))
    _signed(rng, other)


def _values(folder: Path) -> Any:
    """What the manifest holds; None if it is no JSON any more."""
    path = folder / names.MANIFEST
    try:
        if not path.is_symlink() and path.is_file() and path.stat().st_size < 1 << 20:
            return json.loads(path.read_text())
    except (ValueError, RecursionError):
        pass
    return None


def _forged(folder: Path, place: tuple[str, ...], value: Any) -> None:
    """Put a value into the manifest, with the digest that goes with it if it has one."""
    try:
        values = part = _values(folder)
        for name in place[:-1]:
            part = part[name]
        if value is ...:
            part.pop(place[-1], None)
        else:
            part[place[-1]] = value
        forge(folder, **values)
    except (ValueError, TypeError, KeyError, AttributeError):  # it is no manifest any more, or has no digest
        return


def _manifest(rng: random.Random, folder: Path) -> None:
    """Another value somewhere in the manifest."""
    values = _values(folder)
    place: list[str] = []
    while isinstance(values, dict) and values:
        place.append(rng.choice([*values, "more"]))
        values = values.get(place[-1])
        if rng.random() < 0.3:
            break
    if place:
        near = values + rng.choice((-1, 1)) if type(values) is int else ...
        _forged(folder, tuple(place), rng.choice([*ODD, near, near, near, ...]))


def _named(rng: random.Random, folder: Path) -> None:
    """Another name for a file, or one more."""
    _forged(folder, ("files", rng.choice(NAMES)), {"bytes": rng.choice((0, 1, 9999)), "sha256": "0" * 64})
    if rng.random() < 0.5:
        _forged(folder, ("files", _file(rng, folder).name), ...)


def _header(rng: random.Random, folder: Path) -> None:
    """Another header of an array."""
    path = _file(rng, folder, ".npy")
    if data := _content(path):
        old, new = rng.choice(HEADERS)
        head = data[:128].replace(old.encode(), new.encode(), 1)
        if rng.random() < 0.2:
            head = head[:8] + rng.randbytes(2) + head[10:]
        path.write_bytes(head + data[128:])
        _signed(rng, path)


def _numbers(rng: random.Random, folder: Path) -> None:
    """Other numbers in an array."""
    path = _file(rng, folder, ".npy")
    try:
        array = np.load(io.BytesIO(_content(path)), allow_pickle=False)
    except (ValueError, EOFError):
        return
    if array.size:
        odd = [0, -2, 3, 2**31 - 1] if array.dtype.kind == "i" else [math.nan, math.inf, 1e38, -1e38, 1e-45]
        array.flat[rng.randrange(array.size)] = rng.choice(odd)
        if rng.random() < 0.2:
            array[...] = rng.choice(odd)
        np.save(path, array)
        _signed(rng, path)


def _lines(rng: random.Random, folder: Path) -> None:
    """Other lines in the items, or other labels."""
    path = folder / rng.choice((names.ITEMS, names.LABELS))
    if path.is_symlink() or not path.is_file():
        return
    lines = _content(path).split(b"\n")
    odd = rng.choice(
        (b"[" * 60_000, b'{"item_id": "a"}', b"{}", b"\xff", json.dumps(rng.choice(ODD)).encode(), lines[0])
    )
    lines[rng.randrange(len(lines))] = odd
    path.write_bytes(b"\n".join(lines))
    if path.name == names.LABELS and rng.random() < 0.9:
        labels = [
            {"name": rng.choice([*LABELS, *ODD]), "interest_ids": [], "item_idx": [rng.choice((1, 60, 61, 0, -1))]}
        ]
        menu = [rng.choice((0, 1, 2, 3, -1, 2**70, "x")) for _ in range(rng.randrange(3))]
        names_left = [{"name": name, "interest_ids": [], "item_idx": []} for name in LABELS[1:]]
        path.write_text(json.dumps({"labels": [*names_left, *labels], "menu": menu}))
    _signed(rng, path)


CHANGES: tuple[Callable[[random.Random, Path], None], ...] = (
    _bytes,
    _bytes,
    _kind,
    _swapped,
    _manifest,
    _manifest,
    _named,
    _header,
    _numbers,
    _numbers,
    _lines,
)
