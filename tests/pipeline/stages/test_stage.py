"""One stage: found, or built, and by two processes at once built once."""

import multiprocessing
import os
import time
from pathlib import Path

import pyarrow as pa

from eimf.store.artifact import Store
from pipeline.stages.stage import Stage, find_or_build


def _build(root: Path, together, built) -> None:
    def build(artifacts, staging):
        built.put(os.getpid())
        time.sleep(0.5)
        staging.write_table("numbers", pa.table({"x": [1, 2, 3]}))
        return {}

    together.wait(20)
    find_or_build(Stage(1, "numbers", 1, (), {}, build), Store(root), {})


def test_two_processes_build_one_key_once(tmp_path):
    context = multiprocessing.get_context("fork")
    together, built = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_build, args=(tmp_path, together, built)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert built.get(timeout=1) and built.empty()
    assert len(Store(tmp_path).listing()) == 1
