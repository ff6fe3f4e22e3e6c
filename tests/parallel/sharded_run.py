"""Trainings by one process with a whole item table, and by three with a part each, forked from this one.

python -m tests.parallel.sharded_run FOLDER     the state after the first of two epochs, in FOLDER/WAY/CASE;
                                                in FOLDER/WAY.json curves, ranks, and the second epoch resumed
"""

import json
import os
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path

import torch
import torch._dynamo  # which the first optimizer of a process imports
import torch.distributed as dist

from eimf import schema
from eimf.backbones.build import build_backbone
from eimf.config import HeadSettings, ModelSettings, TrainSettings
from eimf.data.histories import Histories
from eimf.evaluation.rank_sharded import rank_users_together
from eimf.evaluation.rank_users import rank_users
from eimf.parallel.process_group import SINGLE_PROCESS, Group
from eimf.parallel.sharded_table import sharded_item_tables
from eimf.semantics.build import build_side_information
from eimf.semantics.supervision import read_supervision
from eimf.train.execution import Execution
from eimf.train.loop import Trainer
from pipeline.training.state import Progress, RunDirectory, RunState
from tests import world as planted
from tests.train.frozen import tables

SIZE = 3
CASES = {
    "soft labels": ("sasrec", HeadSettings(preset="text"), {}),
    "interests": ("comirec-sa", HeadSettings(preset="paper", item_init="text"), {}),
    "hard negatives": ("remi", HeadSettings(preset="plain"), {}),
    "few windows": ("sasrec", HeadSettings(preset="plain"), {"batch_positions": 20}),
    "sampled": ("sasrec", HeadSettings(preset="plain"), {"loss": "sampled", "negatives": 20}),
    "in-batch": ("sasrec", HeadSettings(preset="plain"), {"loss": "in-batch"}),
    "gbce": ("sasrec", HeadSettings(preset="text", item_init="random"), {"loss": "gbce", "negatives": 20}),
}
"""Backbone, heads, and settings of the training. "few windows": a batch has one or two, so a process may have none."""


def trainer(name: str, data: Histories, group: Group) -> Trainer:
    """The training of a case. Dropout draws other masks in every process: off."""
    kind, heads, changes = CASES[name]
    settings = TrainSettings(**{"lr": 5e-3, "batch_positions": 128, "seed": 7, **changes})
    with sharded_item_tables(group) if group.size > 1 else nullcontext():
        backbone = build_backbone(ModelSettings(backbone=kind, width=16, max_length=10, dropout=0), data.num_items, 7)
    side = None
    if not heads.plain:
        side = build_side_information(backbone, read_supervision(*tables(data), data), data, heads, 7)
    return Trainer(
        backbone, side, data, settings, max_length=10, execution=Execution(torch.device("cpu"), group, block_rows=32)
    )


def work(data: Histories, group: Group, folder: Path) -> dict[str, object]:
    """Train all cases in this process. Returns what the first process found."""
    results: dict[str, object] = {}
    way = "parts" if group.size > 1 else "whole"
    for name in CASES:
        job = trainer(name, data, group)
        curve = [job.epoch(0, lambda _: None)]
        directory = RunDirectory(folder / way / name, group)
        directory.save(job, RunState(Progress(1, 0.5, 1), [], 0.0))
        curve.append(job.epoch(1, lambda _: None))
        again = trainer(name, data, group)
        directory.load(again)
        resumed = again.epoch(1, lambda _: None)
        options = {"max_length": 10, "keep_seen": False, "batch_size": 16, "group": group}
        rank = rank_users if group.size == 1 else rank_users_together
        ranks = rank(job.backbone, data, schema.TEST, **options).ranks.tolist()
        results[name] = {"curve": curve, "resumed": resumed, "ranks": ranks}
    return results


def one_of(rank: int, data: Histories, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=SIZE)
    results = work(data, Group(rank, SIZE), folder)
    if rank == 0:
        (folder / "parts.json").write_text(json.dumps(results))
    dist.destroy_process_group()


def main() -> None:
    torch.set_num_threads(1)
    folder, data = Path(sys.argv[1]), planted.histories(planted.world(users=30))
    children = []
    for rank in range(SIZE):
        if not (pid := os.fork()):
            try:
                one_of(rank, data, folder)
                os._exit(0)
            finally:
                traceback.print_exc()
                os._exit(1)
        children.append(pid)
    (folder / "whole.json").write_text(json.dumps(work(data, SINGLE_PROCESS, folder)))
    raise SystemExit(sum(os.waitpid(pid, 0)[1] for pid in children) > 0)


if __name__ == "__main__":
    main()
