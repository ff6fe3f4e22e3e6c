"""Memory of a process whose item table is whole, or spread over 2 or 4 processes: the growth of its peak resident size.

    python -m tests.bench.sharded_items [ITEMS] [WIDTH]     1,000,000 items of width 64 by default

SASRec on synthetic histories, gloo on this machine's CPU. One epoch of a few steps of the full softmax, the validation
of some users, and a save of the state; then the same steps again from that state.
"""

import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from eimf.config import HeadSettings, ModelSettings, RuntimeSettings, TrainSettings
from pipeline.backends.device import prepare_torch

DEVICE = prepare_torch(RuntimeSettings(device="cpu", threads=1))

import torch._dynamo  # noqa: E402, F401  which the first optimizer of a process imports
import torch.distributed as dist  # noqa: E402

from eimf.parallel.process_group import Group  # noqa: E402
from pipeline.training.job import TrainingJob  # noqa: E402
from pipeline.training.run import train  # noqa: E402
from tests.world import leave_one_out  # noqa: E402

RUNTIME = {"device": "cpu", "threads": 1, "eval_batch_size": 64}
USERS, LENGTH = 24, 12


def work(
    rank: int, size: int, items: int, width: int, shard: bool, folder: str, answers: multiprocessing.Queue
) -> None:
    """One process of a training."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank))
    runtime = RuntimeSettings(**RUNTIME, shard_items=shard)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting-{size}-{shard}", rank=rank, world_size=size)
    item_idx = np.random.default_rng(0).integers(1, items + 1, USERS * LENGTH).astype(np.int32)
    histories = leave_one_out(item_idx, np.arange(0, USERS * LENGTH + 1, LENGTH), items)
    before, begin = _peak(), time.perf_counter()
    for epochs in (1, 2):
        job = TrainingJob(
            ModelSettings(width=width, max_length=LENGTH, dropout=0.0),
            HeadSettings(preset="plain"),
            TrainSettings(epochs=epochs, batch_positions=128),
            False,
            runtime,
        )
        state = train(job, None, histories, Path(folder) / f"run-{size}-{shard}", DEVICE, Group(rank, size))
    answers.put((rank, _peak() - before, time.perf_counter() - begin, [line["loss"] for line in state.epoch_log]))
    dist.destroy_process_group()


def _peak() -> float:
    """The most memory that this process has had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    items, width = (int(word) for word in [*sys.argv[1:], *("1000000", "64")[len(sys.argv) - 1 :]])
    print(f"{items:,} items of width {width}: the table has {items * width * 4 / 2**20:,.0f} MiB", flush=True)
    context = multiprocessing.get_context("fork")
    folder = tempfile.mkdtemp()
    try:
        for size, shard in ((1, False), (2, True), (4, True)):
            answers: multiprocessing.Queue = context.Queue()
            processes = [
                context.Process(target=work, args=(rank, size, items, width, shard, folder, answers))
                for rank in range(size)
            ]
            for process in processes:
                process.start()
            got = sorted(answers.get() for _ in processes)
            for process in processes:
                process.join()
            peaks, seconds = [round(peak) for _, peak, _, _ in got], got[0][2]
            result = {"processes": size, "sharded": shard, "peak MiB each": peaks, "seconds": round(seconds, 1)}
            print(json.dumps({**result, "losses": got[0][3]}), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
