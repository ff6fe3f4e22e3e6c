"""The first steps of a training on a `dataset` artifact with a sampled loss, and a save of its state, in a process of
its own.

    python -m tests.bench.dataset_train CONFIG.json     prints what was done as JSON

CONFIG: store (a folder), key (of the dataset), steps, folder (a new one, for the state). SASRec of the default size.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

from eimf.config import ModelSettings, RuntimeSettings, TrainSettings
from pipeline.backends.device import prepare_torch

DEVICE = prepare_torch(RuntimeSettings())

from eimf.backbones.build import build_backbone  # noqa: E402
from eimf.store.artifact import Store  # noqa: E402
from eimf.train.execution import Execution  # noqa: E402
from eimf.train.loop import Progress, Trainer  # noqa: E402
from pipeline.stages.load import histories_of  # noqa: E402
from pipeline.training.state import RunDirectory, RunState  # noqa: E402


class Enough(Exception):
    """All steps are done."""


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    begin = time.perf_counter()
    histories = histories_of({"dataset": Store(Path(config["store"])).get("dataset", config["key"])})
    model, settings = ModelSettings(), TrainSettings(loss="sampled")
    backbone = build_backbone(model, histories.num_items, settings.seed)
    trainer = Trainer(
        backbone, None, histories, settings, max_length=model.max_length, execution=Execution(DEVICE, block_rows=0)
    )
    loaded = time.perf_counter()
    started, targets = 0.0, 0

    def on_progress(count: int) -> None:
        nonlocal started, targets
        started = started or time.perf_counter()
        targets += count
        if trainer.steps_done == config["steps"]:
            raise Enough

    with contextlib.suppress(Enough):
        trainer.epoch(0, on_progress)
    ended = time.perf_counter()
    folder = Path(config["folder"])
    folder.mkdir()
    RunDirectory(folder).save(trainer, RunState(Progress(), [], 0.0))
    seconds = {"load": loaded - begin, "first_step": started - loaded, "steps": ended - started}
    print(json.dumps({"targets": targets, "targets_per_epoch": histories.training_targets, "seconds": seconds}))


if __name__ == "__main__":
    main()
