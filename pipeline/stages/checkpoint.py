"""Stage 11: a backbone trained against frozen artifacts.

Imports torch, pyarrow, numpy, pydantic and safetensors only, and those inside the build functions, so a hit loads none.
"""

from typing import Any

from eimf.config import ModelSettings
from eimf.errors import SettingError
from eimf.store.artifact import Staging
from pipeline.backends.device import bfloat16_is_native, memory_of, prepare_torch
from pipeline.stages.stage import Artifacts, Facts, Run
from pipeline.training import processes

_GIB = 1 << 30
_BYTES_OF_A_WEIGHT = 12
"""Of float32: itself and AdamW's two moments."""


def checkpoint_configuration(run: Run) -> dict[str, Any]:
    recipe = run.recipe
    prepare_torch(recipe.runtime)
    from eimf.backbones.build import model_configuration
    from eimf.backbones.registry import BACKBONES

    found: Facts = {
        "model": model_configuration(recipe.model),
        "heads": recipe.heads.configuration(),
        "train": recipe.train.configuration(),
        "keep_seen": recipe.evaluate.keep_seen,
    }
    if recipe.train.loss != "softmax" and recipe.heads.smoothed:
        found["soft_labels"] = 2  # since their items stand in the mass of a loss that draws items
    revision = BACKBONES[recipe.model.backbone].revision
    return found if revision == 1 else {**found, "revision": revision}


def build_checkpoint(run: Run, made: Artifacts, staging: Staging) -> Facts:
    device = prepare_torch(run.recipe.runtime)
    if run.recipe.train.precision == "bfloat16" and device.type == "cpu" and not bfloat16_is_native():
        found = (
            "bfloat16, which this CPU has to imitate (no avx512_bf16, amx_bf16 or bf16): many times as slow as float32"
        )
        raise SettingError("train.precision", found, 'set it to "float32", or train on another machine')
    check_memory(run.recipe.model, int(made["dataset"].fact("items")), memory_of(device))
    from pipeline.stages.load import histories_of, supervision_of
    from pipeline.training.run import train
    from pipeline.training.state import RunDirectory, json_lines

    processes.call(device)
    histories = histories_of(made)
    supervision = supervision_of({kind: made[kind] for kind in run.recipe.heads.reads}, histories)
    standing = train(run.recipe, supervision, histories, staging.resume_dir, device, processes.join(device))
    (staging.folder / "model.safetensors").write_bytes(RunDirectory(staging.resume_dir).best(standing))
    (staging.folder / "curve.jsonl").write_text(json_lines(standing.curve))
    return standing.summary(histories.training_targets)


def check_memory(model: ModelSettings, items: int, available: int) -> None:
    """Raises SettingError for a backbone whose weights and moments alone need more than the `available` bytes."""
    from eimf.backbones.build import outline

    weights = sum(parameter.numel() for parameter in outline(model, items).parameters())
    needed = _BYTES_OF_A_WEIGHT * weights
    if needed > available:
        problem = f"{weights:,} parameters take {needed / _GIB:,.1f} GiB to train, here are {available / _GIB:,.1f}"
        raise SettingError(f"model ({model.backbone})", problem, "lower model.width, or the layers in model.options")
