"""A forged dataset: other events, users or cases, with the hashes that go with them, read as a training does."""

import io
import json
import random
import shutil
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eimf.data.histories import Histories
from eimf.errors import UserError
from eimf.evaluation.eval_batches import eval_batches
from eimf.store import keys
from eimf.store.artifact import Artifact, Store
from eimf.train.batches import Batches, cut_windows
from pipeline.histories import read_dataset
from pipeline.stages.dataset import dataset_stage
from pipeline.stages.stage import find_or_build
from tests import world as planted

FILES = ("item_idx.npy", "item_idx.npy", "timestamp.npy", "users.parquet", "users.parquet", "eval_cases.parquet")
NUMBERS = (-1, 0, 1, 2, 49, 1000, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, float("nan"), float("inf"))
DTYPES = ("<i4", "<i8", "<u4", ">i4", "<f4", "<f8", "<i2", "?", "<U3", "<M8[s]", "<c8")


@cache
def _whole(folder: Path) -> Artifact:
    recipe = planted.recipe(planted.world(users=12).write(folder / "data"), "dataset.columns.timestamp=order")
    return find_or_build(dataset_stage(recipe), Store(folder / "whole"), {})[0]


def run_one(rng: random.Random, folder: Path) -> str:
    """Change one file of a copy of the dataset and sign it, then read all of it: "ok", or the text of the UserError."""
    with redirect_stdout(io.StringIO()):
        whole = _whole(folder)
    copy = folder / "copy" / "dataset" / whole.key
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole.folder, copy)
    path = copy / rng.choice(FILES)
    path.write_bytes(_array(rng, path) if path.suffix == ".npy" else _table(rng, path))
    _sign(path)
    try:
        _read(read_dataset(Store(folder / "copy").get("dataset", whole.key)))
    except UserError as error:
        return str(error)
    return "ok"


def _read(histories: Histories) -> None:
    """What training and evaluation do with the arrays."""
    assert histories.frequency().sum() == histories.num_train.sum() == len(histories.training().item_idx)
    rng = np.random.default_rng(0)
    windows = cut_windows(histories, 8, 2, rng)
    assert sum(batch.targets for batch in Batches(histories, windows, 64, rng)) == histories.training_targets
    for cases in histories.cases.values():
        assert len(histories.repeated(cases)) == len(cases.item_idx)
        assert sum(len(batch.case) for batch in eval_batches(histories, cases, 8, 16, 64)) == len(cases)


def _array(rng: random.Random, path: Path) -> bytes:
    """The bytes of another array, or of something near one."""
    data, array = path.read_bytes(), np.load(path)
    kind = rng.choice(("number", "number", "dtype", "shape", "length", "bytes", "pickle", "cut"))
    if kind == "number":
        with np.errstate(all="ignore"):
            array[rng.randrange(len(array))] = np.array(rng.choice(NUMBERS)).astype(array.dtype)
    elif kind == "dtype":
        array = np.zeros(len(array), rng.choice(DTYPES))
    elif kind == "shape":
        array = array[: len(array) // 2 * 2].reshape(rng.choice(((2, -1), (-1, 2), (1, -1), (-1, 1, 2))))
    elif kind == "length":
        array = rng.choice((array[: rng.randrange(len(array))], np.repeat(array, 2), np.append(array, array[:1])))
    elif kind == "pickle":
        array = np.array([{}, []], object)
    elif kind == "bytes":
        changed = bytearray(data)
        changed[rng.randrange(140)] = rng.randrange(256)
        return bytes(changed)
    else:
        return data[: rng.randrange(len(data))]
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _table(rng: random.Random, path: Path) -> bytes:
    """The bytes of the table with one cell, one column or the number of its rows changed."""
    table = pq.read_table(path)
    name = rng.choice([name for name in table.column_names if table.schema.field(name).type != pa.string()])
    column, values = table.column_names.index(name), table[name].to_pylist()
    kind = rng.choice(("number", "number", "number", "null", "type", "less", "drop", "swap"))
    if kind == "number":
        values[rng.randrange(len(values))] = rng.choice((-1, 0, 1, 2, 1000, 2**31 - 1, -(2**31)))
    elif kind == "null":
        values[rng.randrange(len(values))] = None
    elif kind == "swap":
        rng.shuffle(values)
    field = pa.field(name, pa.int64() if kind == "type" else table.schema.field(name).type)
    table = table.set_column(column, field, pa.array(values, field.type))
    table = table.remove_column(column) if kind == "drop" else table
    table = table.slice(0, rng.randrange(len(table))) if kind == "less" else table
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def _sign(path: Path) -> None:
    manifest = path.with_name("manifest.json")
    values = json.loads(manifest.read_text())
    values["files"][path.name] |= {"sha256": keys.file_digest(path), "size": path.stat().st_size}
    values.pop("digest")
    manifest.write_text(json.dumps({**values, "digest": keys.digest(values)}))
