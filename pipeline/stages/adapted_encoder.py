"""Stage 1a: the text encoder adapted to which items follow each other in training; or, as its control without text,
co-occurrence vectors."""

from functools import partial
from typing import TYPE_CHECKING

from eimf import schema
from eimf.config import AdaptSettings, RuntimeSettings
from eimf.errors import SettingError
from eimf.store.artifact import Staging
from pipeline.backends.device import prepare_torch
from pipeline.backends.dtype import fastest_dtype, gpu_present
from pipeline.backends.engines import Engines
from pipeline.backends.model_source import offline_environment
from pipeline.console import info, progress
from pipeline.stages.load import histories_of
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    import torch

    from eimf.esim.adapt.adapter import Adapter

ADAPTED = "adapted_encoder"
_NEAREST = 20
"""Of how many nearest items a held-out one must be."""


def adapted_encoder_stage(settings: AdaptSettings, engines: Engines, runtime: RuntimeSettings) -> Stage:
    """Stage 1a, keyed by the encoder and every setting of the adaptation. Raises SettingError for the fake encoder."""
    if engines.has_fake_encoder:
        problem = "fake, which has nothing to adapt"
        raise SettingError("encoder.backend", problem, "set it to vllm, or adapt.enabled=false")
    precision = _precision(settings, runtime)
    configuration = {"encoder": engines.encoder_identity["model"], "adapt": settings.configuration(precision)}
    build = _build_cooccurrence if settings.control == "cooccurrence" else partial(_build, precision)
    return Stage("1a", ADAPTED, 1, ("dataset",), configuration, partial(build, settings, engines, runtime))


def _precision(settings: AdaptSettings, runtime: RuntimeSettings) -> str:
    """What `auto` means here: float32, unless bfloat16 is native."""
    if settings.precision != "auto":
        return settings.precision
    fastest = fastest_dtype(on_gpu=gpu_present() and runtime.device != "cpu")
    return "bfloat16" if fastest == "bfloat16" else "float32"


def _build(
    precision: str,
    settings: AdaptSettings,
    engines: Engines,
    runtime: RuntimeSettings,
    artifacts: Artifacts,
    staging: Staging,
) -> Summary:
    from pipeline.training.adaptation import adapt
    from pipeline.training.resume_folder import json_lines

    adapter, summary = _adapter(settings, engines, precision, prepare_torch(runtime), artifacts)
    before = adapter.retrieved(_NEAREST)
    if before is not None:
        info(f"       the encoder as it is finds {before:.1%} of the held-out pairs")
    with progress("adapting", adapter.anchors * settings.epochs, "items") as bar:
        epochs = adapt(adapter, staging.resume_dir, settings.epochs, runtime.save_interval_seconds, _NEAREST, bar)
    adapter.encoder.save(staging.folder)
    (staging.folder / "epochs.jsonl").write_text(json_lines(epochs))
    after = epochs[-1]["found"]
    return {**summary, "epochs": len(epochs), "loss": epochs[-1]["loss"], "found_before": before, "found": after}


def _adapter(
    settings: AdaptSettings, engines: Engines, precision: str, device: "torch.device", artifacts: Artifacts
) -> "tuple[Adapter, Summary]":
    """The adaptation at its beginning, and counts."""
    from eimf.data.cooccurrence import count_cooccurrence
    from eimf.esim.adapt.adapter import Adapter
    from eimf.esim.adapt.pairs import shuffled, training_pairs

    histories = histories_of(artifacts)
    texts = artifacts["dataset"].table("items", [schema.TEXT])[schema.TEXT].to_pylist()
    if settings.control == "shuffled":
        texts = shuffled(texts, settings.seed)
    pairs = training_pairs(
        histories,
        count_cooccurrence(histories),
        texts,
        reach=settings.reach,
        held_out=settings.held_out,
        seed=settings.seed,
    )
    if not len(pairs.anchors):
        problem = "true, but no two items follow each other in training more often than by chance"
        raise SettingError("adapt.enabled", problem, "set it to false")
    folder = engines.encoder_folder()
    offline_environment(gpu_present())
    from eimf.esim.adapt.text_encoder import TextEncoder

    encoder = TextEncoder(folder, device, precision=precision, max_tokens=settings.max_tokens, layers=settings.layers)
    counts = {"items": len(texts), "anchors": len(pairs.anchors), "pairs": len(pairs.pairs.row) // 2}
    return Adapter(encoder, pairs, texts, settings), {**counts, "held_out": len(pairs.held_out)}


def _build_cooccurrence(
    settings: AdaptSettings, engines: Engines, runtime: RuntimeSettings, artifacts: Artifacts, staging: Staging
) -> Summary:
    import numpy as np
    import pyarrow as pa

    prepare_torch(runtime.model_copy(update={"device": "cpu"}))
    from eimf.data.cooccurrence import count_cooccurrence
    from eimf.esim.adapt.factors import cooccurrence_vectors
    from eimf.esim.adapt.text_encoder import width_of
    from eimf.esim.encode import to_column

    cooccurrence = count_cooccurrence(histories_of(artifacts))
    vectors = cooccurrence_vectors(cooccurrence, width_of(engines.encoder_folder()), settings.seed)
    item_idx = np.arange(1, len(vectors) + 1, dtype=np.int32)
    table_schema = schema.item_vectors(vectors.shape[1])
    staging.write_table("vectors", pa.table([item_idx, to_column(vectors)], schema=table_schema))
    return {"items": len(vectors), "width": vectors.shape[1], "without": int((cooccurrence.users == 0).sum())}
