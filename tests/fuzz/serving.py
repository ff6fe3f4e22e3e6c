"""Hostile calls of a recommender, checkpoints and recipes, one an input: each is taken, or refused with one line."""

import contextlib
import io
import json
import math
import random
import shutil
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor

from eimf.backbones.build import check_backbone, model_configuration, options_of
from eimf.backbones.registry import BACKBONES
from eimf.errors import UserError
from eimf.serving.recommend import Recommender
from eimf.store import keys
from eimf.store.artifact import Artifact, Store
from eimf.store.folder import FolderHome
from eimf.store.manifest import FileEntry
from pipeline.recipe import Recipe, load_recipe
from pipeline.report.store import show_store
from pipeline.serving import recommender_of
from pipeline.stages.lockfile import settings_behind
from pipeline.stages.stage_two import run_train
from pipeline.sweeps.plan import read_plan
from tests import world as planted
from tests.calibrated import calibration_of

WEIGHTS = "model.safetensors"
TIMED = ("dataset.columns.timestamp=order", "model.backbone=hstu", "model.options.hstu.time=true")
NUMBERS = [0, 1, -1, 2, 7, 0.5, 1e30, -1e30, 1e-300, 2**31, 2**63, 10**400, math.nan, math.inf, -math.inf, True, False]
TEXTS = ["", "x", "i001", "true", "nan", "../..", "os.system", "\0", "\x1b[2J", "\udc80", "é", "sasrec", "1e3"]
TEXTS += ["x" * 5000]
PIECES = ["[", "]", "[[", "]]", "{", "}", "=", ".", ",", "\n", " ", "#", '"', "'", '"""', "\\", "\\u0000", "\ufeff"]
PIECES += ["\0", "dataset", "model", "train", "name", "x", "1", "9" * 5000, "1979-05-27", "inf", "0x", "é"]
PIECES += ["[" * 900, "a." * 200]
RECIPE = '[dataset]\nname = "x"\ninteractions = "e.csv"\nitems = "i.csv"\n[train]\nlr = 0.1\n[model]\nwidth = 8\n'


def run_one(rng: random.Random, folder: Path) -> str:
    """Make one input by `rng`, run it, and return "ok" or the words of the refusal. Any other error passes through.
    Its trainings are in `folder`, and stay there for the next input."""
    try:
        rng.choice((_calls, _checkpoint, _recipe_text, _recipe_values, _settings, _plan))(rng, folder)
    except UserError as error:
        return str(error)
    return "ok"


@cache
def _trained(folder: Path) -> list[tuple[Artifact, Artifact, Recommender]]:
    """A checkpoint with its dataset: a backbone of several vectors a user, the same calibrated, and one that wants
    times."""
    store, data = Store(folder / "store"), planted.world(users=12).write(folder / "world")
    trained = []
    with contextlib.redirect_stdout(io.StringIO()):
        for settings in (("model.backbone=comirec-sa",), TIMED):
            checkpoint = run_train(
                planted.recipe(data, "heads.preset=plain", "train.epochs=1", *settings), store
            ).checkpoint
            dataset = store.get("dataset", checkpoint.manifest.parents["dataset"])
            trained.append((checkpoint, dataset, recommender_of(checkpoint, dataset)))
    calibration, (_, dataset, _) = calibration_of(store, trained[0][0]), trained[0]
    trained.insert(1, (calibration, dataset, recommender_of(calibration, dataset)))
    return trained


def _value(rng: random.Random, depth: int = 0) -> Any:
    """A value of any kind that JSON or TOML can hold, and more."""
    kind = rng.randrange(8 if depth < 3 else 4)
    if kind < 2:
        return rng.choice(NUMBERS)
    if kind < 4:
        return rng.choice(TEXTS) if rng.random() < 0.9 else None
    if kind < 6:
        return [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(TEXTS): _value(rng, depth + 1) for _ in range(rng.randrange(3))}


def _odd(rng: random.Random, usual: Any) -> Any:
    """The usual value, or in one of five cases another."""
    others = [b"i001", {1, 2}, object(), np.array(3), np.zeros((2, 2)), iter([1]), 1j, range(3)]
    strange = [_value(rng), rng.choice(others)]
    return usual if rng.random() < 0.8 else rng.choice(strange)


def _calls(rng: random.Random, folder: Path) -> None:
    _, _, model = rng.choice(_trained(folder))
    lengths = [rng.choice((0, 1, 2, 5, 40)) for _ in range(rng.choice((0, 1, 1, 3)))]
    ids = [*model.item_ids[:6], "unheard of"]
    histories = [_odd(rng, [_odd(rng, rng.choice(ids)) for _ in range(length)]) for length in lengths]
    steps = [0.0, 1.0, -5.0, 1e9, 1e14, 1e-300, np.float32(2), 10**9]
    times = [_odd(rng, [_odd(rng, rng.choice(steps)) for _ in range(length)]) for length in lengths]
    count = _odd(rng, rng.choice((1, 10, 10**18, np.int64(3))))
    some = [None, None, ids, ids[:2], [], set(ids), "i001"]
    settings = {
        "exclude_seen": rng.choice((None, True, False)),
        "allow": _odd(rng, rng.choice(some)),
        "deny": _odd(rng, rng.choice(some)),
        "diversity": _odd(rng, rng.choice((0, 0.5, 1, np.float32(0.25)))),
    }
    if rng.random() < 0.7:
        answers = model.recommend(_odd(rng, histories), count, times=_odd(rng, times), **settings)
    else:
        history, seconds = (histories[0], times[0]) if histories else ([], None)
        names = _odd(rng, ["jazz trumpet"])
        answers = [model.recommend_for(names, _odd(rng, history), count, times=_odd(rng, seconds), **settings)]
    for answer in answers:
        assert len(answer.items) <= len(model.item_ids)
        assert all(item.item_id in model.item_ids for item in answer.items)


def _checkpoint(rng: random.Random, folder: Path) -> None:
    """Manifest and weights of somebody else, with digests that are right."""
    checkpoint, dataset, _ = rng.choice(_trained(folder))
    configuration = json.loads(json.dumps(checkpoint.manifest.configuration))
    for _ in range(rng.randrange(3)):
        _change(rng, configuration)
    manifest: dict[str, Any] = {"configuration": configuration}
    copy, changed = folder / f"forged-{uuid.UUID(int=rng.getrandbits(128))}", None
    if rng.random() < 0.6:
        path = copy / checkpoint.manifest.kind / checkpoint.key / WEIGHTS
        path.parent.mkdir(parents=True)
        changed = _weights(rng, checkpoint, path)
        manifest["files"] = {WEIGHTS: FileEntry(sha256=keys.file_digest(path), size=path.stat().st_size)}
    try:
        forged = replace(checkpoint, manifest=checkpoint.manifest.model_copy(update=manifest), _checked=set())
        model = recommender_of(replace(forged, home=FolderHome(copy)) if changed else forged, dataset)
        times = [[1.0, 2.0, 3.0]]
        model.recommend([model.item_ids[:3]], times=times)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        show_store(Store(folder / "store"))


def _change(rng: random.Random, values: dict[str, Any]) -> None:
    """Put something else at a random place of nested tables, take it away, or add to them."""
    while True:
        name = rng.choice([*values, "more"])
        if isinstance(values.get(name), dict) and values[name] and rng.random() < 0.7:
            values = values[name]
            continue
        if rng.random() < 0.2:
            values.pop(name, None)
        else:
            sizes = (1, 2, 16, 64, 8192, 65536)
            values[name] = rng.choice([_value(rng), rng.choice(list(BACKBONES)), rng.choice(sizes)])
        return


def _weights(rng: random.Random, checkpoint: Artifact, path: Path) -> str:
    """Weights that differ in a tensor or in some bytes; says in what."""
    weights = load_file(checkpoint.file(WEIGHTS))
    name = rng.choice(list(weights))
    changes: list[Callable[[Tensor], Tensor]] = [
        Tensor.double,
        Tensor.half,
        Tensor.bool,
        lambda each: each[:-1].clone(),
        lambda each: each * math.nan,
        lambda each: each.unsqueeze(0).clone(),
        lambda each: each * 1e30,
        lambda each: each.flatten().clone(),
    ]
    what = rng.choice(("tensor", "less", "more", "bytes", "cut"))
    if what == "tensor":
        weights[name] = rng.choice(changes)(weights[name]).contiguous()
    elif what == "less":
        del weights[name]
    elif what == "more":
        weights[rng.choice(TEXTS[:6])] = weights[name].clone()
    save_file(weights, path)
    if what in ("bytes", "cut"):
        content = bytearray(path.read_bytes())
        for _ in range(rng.randrange(1, 5)):
            content[rng.randrange(min(2000, len(content)))] = rng.randrange(256)
        path.write_bytes(content[: rng.randrange(len(content))] if what == "cut" else content)
    return what


def _sections() -> dict[str, list[str]]:
    kinds = {name: field.annotation for name, field in Recipe.model_fields.items() if name != "folder"}
    return {name: list(kind.model_fields) for name, kind in kinds.items()}


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if value is None:
        return "1979-05-27T07:32:00Z"
    if isinstance(value, int) and abs(value) > 10**300:
        return ("-" if value < 0 else "") + "9" * 400
    return json.dumps(value) if isinstance(value, str | bool) else str(value)


def _use(recipe: Recipe) -> None:
    """All that is done with a recipe before anything is built."""
    recipe.model_dump_json(exclude={"folder"})
    check_backbone(recipe.model)
    keys.digest({"model": model_configuration(recipe.model), "heads": recipe.heads.configuration()})
    keys.digest({"train": recipe.train.configuration(), "esim": settings_behind(recipe, "esim").settings})


def _written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _recipe_text(rng: random.Random, folder: Path) -> None:
    """A recipe with some bytes changed, or of pieces of TOML."""
    content = bytearray(RECIPE.encode())
    if rng.random() < 0.5:
        content += "".join(rng.choice(PIECES) for _ in range(rng.randrange(20))).encode()
    for _ in range(rng.randrange(4)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    _use(load_recipe("", _written(folder, "r.toml", bytes(content)), []))


def _recipe_values(rng: random.Random, folder: Path) -> None:
    """A recipe with settings of any kind of value."""
    lines = ['dataset = {name = "x", interactions = "e.csv", items = "i.csv"}']
    for section, names in rng.sample(list(_sections().items()), rng.randrange(1, 4)):
        if section == "dataset":
            continue
        inner = {rng.choice([*names, "more"]): _value(rng) for _ in range(rng.randrange(3))}
        if section == "model" and rng.random() < 0.5:
            inner |= {"backbone": _backbone(rng), "options": {_backbone(rng): _options(rng)}}
        lines.append(f"{section} = {_toml(inner if rng.random() < 0.95 else _value(rng))}")
    content = "\n".join(lines).encode(errors="surrogateescape")
    _use(load_recipe("", _written(folder, "v.toml", content), []))


def _backbone(rng: random.Random) -> str:
    return rng.choice([*BACKBONES, *TEXTS[:3]])


def _options(rng: random.Random) -> dict[str, Any]:
    names = list(options_of(rng.choice(list(BACKBONES))).model_fields) or ["x"]
    return {rng.choice(names): _value(rng) for _ in range(rng.randrange(3))}


def _settings(rng: random.Random, folder: Path) -> None:
    """Settings of the command line."""
    settings = []
    for _ in range(rng.randrange(1, 3)):
        section, names = rng.choice(list(_sections().items()))
        name = rng.choice(
            [f"{section}.{rng.choice(names)}", rng.choice(TEXTS), f"model.options.{_backbone(rng)}.layers"]
        )
        value = rng.choice([_toml(_value(rng)), rng.choice(TEXTS), rng.choice(PIECES)])
        settings.append(rng.choice([f"{name}={value}", f"{name}={value}", name, value]))
    dataset = rng.choice(["ml-100k", "ml-100k", "ml-100k", str(folder), *TEXTS])
    recipe = rng.choice([None, None, None, Path(rng.choice(TEXTS).encode(errors="replace").decode())])
    _use(load_recipe(dataset, recipe, settings))


def _plan(rng: random.Random, folder: Path) -> None:
    names = ("recipes", "backbones", "seeds", "variants", "against", "settings", "more")
    usual: dict[str, Any] = {"recipes": ["ml-100k"], "backbones": ["dnn"], "seeds": [1], "variants": {"plain": []}}
    for _ in range(rng.randrange(3)):
        usual[rng.choice(names)] = _value(rng)
    text = "\n".join(f"{name} = {_toml(value)}" for name, value in usual.items())
    text += "".join(rng.choice(PIECES) for _ in range(rng.choice((0, 0, 3))))
    read_plan(_written(folder, "p.toml", text.encode(errors="surrogateescape")))
