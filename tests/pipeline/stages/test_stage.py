"""One stage: found, or built, and by two processes at once built once."""

import multiprocessing
import os
import time
from pathlib import Path

import pyarrow as pa

from eimf.store.artifact import Store
from pipeline.backends.engines import Engines
from pipeline.recipe import load_recipe
from pipeline.stages.stage import Run, Stage, make


def _make(root: Path, together, built) -> None:
    def build(run, made, staging):
        built.put(os.getpid())
        time.sleep(0.5)
        staging.write_table("numbers", pa.table({"x": [1, 2, 3]}))
        return {}

    recipe = load_recipe("ml-100k", None, [])
    together.wait(20)
    make(Stage(1, "numbers", 1, (), lambda run: {}, build), Run(recipe, Store(root), Engines(recipe)), {}, {})


def test_two_processes_build_one_key_once(tmp_path):
    context = multiprocessing.get_context("fork")
    together, built = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_make, args=(tmp_path, together, built)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert built.get(timeout=1) and built.empty()
    assert len(Store(tmp_path).listing()) == 1
