"""Stage 11: a backbone trained against frozen artifacts.

Building one imports torch, pyarrow, numpy, pydantic and safetensors only.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from eimf.config import ModelSettings
from eimf.errors import SettingError
from eimf.store.artifact import Staging
from pipeline.backends.device import bfloat16_is_native, memory_of, prepare_torch
from pipeline.stages.stage import Artifacts, Stage, Summary
from pipeline.training import processes
from pipeline.training.job import TrainingJob

if TYPE_CHECKING:
    from eimf.data.histories import Histories
    from eimf.semantics.supervision import Supervision
    from pipeline.training.run import Watch

_GIB = 1 << 30
_BYTES_PER_WEIGHT = 12
"""In float32: the weight itself and AdamW's two moments."""


def checkpoint_stage(job: TrainingJob, watch: "Watch | None" = None) -> Stage:
    """Stage 11, keyed by every setting that changes the weights, and by the revision of the backbone; `watch` may end
    the training. Raises SettingError for a backbone or an option that does not exist."""
    from eimf.backbones.build import model_configuration
    from eimf.backbones.registry import BACKBONES

    configuration = {
        "model": model_configuration(job.model),
        "revision": BACKBONES[job.model.backbone].revision,
        "heads": job.heads.configuration(),
        "train": job.train.configuration(),
        "keep_seen": job.keep_seen,
    }
    return Stage(11, "checkpoint", 3, job.heads.reads, configuration, partial(_build_checkpoint, job, watch))


def _build_checkpoint(job: TrainingJob, watch: "Watch | None", artifacts: Artifacts, staging: Staging) -> Summary:
    device = prepare_torch(job.runtime)
    if job.train.precision == "bfloat16" and device.type == "cpu" and not bfloat16_is_native():
        problem = "bfloat16, which this CPU emulates (no avx512_bf16, amx_bf16 or bf16): many times slower than float32"
        raise SettingError("train.precision", problem, 'set it to "float32", or train on another machine')
    parts = processes.size() if job.runtime.shard_items else 1
    check_memory(job.model, int(artifacts["dataset"].summary_number("items")), memory_of(device), parts)
    from pipeline.training.resume_folder import json_lines
    from pipeline.training.run import train
    from pipeline.training.state import RunDirectory

    processes.broadcast_start()
    histories, supervision = _arrays(artifacts)
    state = train(job, supervision, histories, staging.resume_dir, device, processes.join(device), watch)
    shutil.copyfile(RunDirectory(staging.resume_dir).best(state), staging.folder / "model.safetensors")
    (staging.folder / "epochs.jsonl").write_text(json_lines(state.epoch_log))
    return state.summary(histories.training_targets)


def train_as_worker(job: TrainingJob, artifacts: Artifacts, resume_dir: Path) -> None:
    """What every process of torchrun but the first does: train whenever the first one does, until it stops."""
    device = prepare_torch(job.runtime)
    while processes.wait_for_start():
        from pipeline.training.run import train

        histories, supervision = _arrays(artifacts)
        train(job, supervision, histories, resume_dir, device, processes.join(device))
    processes.destroy()


def _arrays(artifacts: Artifacts) -> "tuple[Histories, Supervision | None]":
    from pipeline.stages.load import histories_of, supervision_of

    histories = histories_of(artifacts)
    return histories, supervision_of(artifacts, histories)


def check_memory(model: ModelSettings, num_items: int, available: int, parts: int = 1) -> None:
    """Raises SettingError for a backbone whose weights and moments alone need more than `available` bytes, if each
    process holds one of `parts` of its item table."""
    from eimf.backbones.build import outline

    backbone = outline(model, num_items)
    table = backbone.item_table.weight.numel()
    weights = sum(parameter.numel() for parameter in backbone.parameters()) - table + table // parts
    needed = _BYTES_PER_WEIGHT * weights
    if needed > available:
        needs = f"{weights:,} parameters take {needed / _GIB:,.1f} GiB to train"
        problem = f"{needs}, this machine has {available / _GIB:,.1f}"
        raise SettingError(f"model ({model.backbone})", problem, "lower model.width, or the layers in model.options")
