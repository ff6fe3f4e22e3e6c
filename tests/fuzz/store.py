"""Damaged and forged stores: one file of a finished store is changed, and one command reads it."""

import json
import random
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from eimf.errors import UserError
from eimf.store import keys
from eimf.store.artifact import Store
from pipeline.commands.check import run_check
from pipeline.commands.store import run_verify
from pipeline.recipe import Recipe
from pipeline.report.store import show_store
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_evaluate, run_train
from tests import world as planted

ODD: list[Any] = [None, True, -1, 0, 2**70, 1.5, float("nan"), "", "x", "../..", "\x1b[2J", "0" * 64, "x" * 5000]
ODD += [[], {}, [1]]


@cache
def _whole(folder: Path) -> tuple[Store, Recipe]:
    data = planted.world(users=30).write(folder / "data")
    recipe = planted.recipe(data, "train.epochs=1", 'calibrate.sources=["text", "interests"]', "cluster.count=5")
    store = Store(folder / "whole")
    run_esim(recipe, store)
    run_check(recipe, store)
    run_train(recipe, store)
    return store, recipe


def run_one(rng: random.Random, folder: Path) -> str:
    """Change one file of a copy of the store, run one command on it."""
    with redirect_stdout(StringIO()):
        whole, recipe = _whole(folder)
        root = folder / "copy"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(whole.root, root)
        store = Store(root)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        rng.choice(CHANGES)(rng, rng.choice(files))
        try:
            rng.choice(COMMANDS)(recipe, store)
        except UserError as error:
            return str(error)
    return "ok"


def _flip(rng: random.Random, path: Path) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 30))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def _cut(rng: random.Random, path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def _noise(rng: random.Random, path: Path) -> None:
    odd = json.dumps(rng.choice(ODD)).encode()
    path.write_bytes(rng.choice((b"", b"null", b"[" * 100_000, b"\xff", rng.randbytes(300), odd)))


def _other_kind(rng: random.Random, path: Path) -> None:
    path.unlink()
    rng.choice((lambda: None, path.mkdir, lambda: path.symlink_to(path), lambda: path.symlink_to(path.parent)))()


def _swap(rng: random.Random, path: Path) -> None:
    """A whole file of its kind, of something else."""
    others = sorted(other for other in path.parent.parent.parent.rglob(f"*{path.suffix}") if other != path)
    if others:
        path.write_bytes(rng.choice(others).read_bytes())


def _forge(rng: random.Random, path: Path) -> None:
    """Another value somewhere in a JSON file, with the key and the digest that go with it."""
    path = path if path.suffix == ".json" else path.parent / "manifest.json"
    if not path.is_file():
        return
    values = json.loads(path.read_text())
    _change(rng, values)
    if rng.random() < 0.8 and isinstance(values, dict):
        values.pop("digest", None)
        values["digest"] = _digest(values)
    path.write_bytes(json.dumps(values).encode())


def _digest(values: dict[str, Any]) -> str:
    try:
        return keys.digest(values)
    except ValueError:  # NaN
        return "0" * 64


def _change(rng: random.Random, value: Any) -> None:
    while isinstance(value, dict | list) and value:
        name = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if not isinstance(value[name], dict | list) or not value[name] or rng.random() < 0.3:
            if rng.random() < 0.3:
                del value[name]
            else:
                value[name] = rng.choice(ODD)
            return
        value = value[name]


def _rebuilt(recipe: Recipe, store: Store) -> None:
    run_esim(recipe, store)


CHANGES = (_flip, _flip, _cut, _noise, _other_kind, _swap, _forge, _forge, _forge)
COMMANDS: tuple[Callable[[Recipe, Store], object], ...] = (
    lambda recipe, store: run_verify(store),
    lambda recipe, store: run_verify(store),
    lambda recipe, store: show_store(store),
    _rebuilt,
    run_train,
    run_evaluate,
    run_check,
)
