"""Stage 11a: what else decides the next item beside the trained model, with weights from validation events."""

from functools import partial
from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.config import CalibrateSettings, RuntimeSettings
from eimf.store.artifact import Staging
from pipeline.backends.device import prepare_torch
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    from eimf.choice.calibrate import Calibration
    from eimf.choice.cases import Choices
    from eimf.choice.sources import Source
    from eimf.data.histories import Histories
    from eimf.semantics.supervision import Supervision


_MAX_SCORES = 1 << 25
"""Scores of all items for all cases: half of what the signal check takes, since a training waits for this stage."""


def calibration_stage(settings: CalibrateSettings, trained: dict[str, Any], runtime: RuntimeSettings) -> Stage:
    """Stage 11a, of the checkpoint with the configuration `trained`, which is repeated in its own: who reads the model
    needs no other artifact."""
    configuration = {"calibrate": settings.model_dump(mode="json"), "trained": trained}
    build = partial(_build_calibration, settings, runtime)
    return Stage("11a", "calibration", 1, settings.reads, configuration, build)


def _build_calibration(
    settings: CalibrateSettings, runtime: RuntimeSettings, artifacts: Artifacts, staging: Staging
) -> Summary:
    device = prepare_torch(runtime)
    from safetensors.torch import save_file

    from eimf.choice.calibrate import calibrate, calibrated_model
    from eimf.choice.cases import read_choices
    from eimf.choice.design import Design
    from eimf.choice.known import model_source
    from pipeline.serving import load_backbone
    from pipeline.stages.load import histories_of, supervision_of

    histories = histories_of(artifacts)
    trained, backbone = load_backbone(artifacts["checkpoint"], histories.num_items)
    choices = read_choices(
        histories,
        schema.VALID,
        max_length=trained.model.max_length,
        keep_seen=trained.keep_seen,
        max_scores=_MAX_SCORES,
    )
    model = model_source(backbone.to(device), choices)
    sources = _sources(settings, supervision_of(artifacts, histories), histories, choices)
    calibration = calibrate(Design([model, *sources], choices), settings.significance)
    weights = calibrated_model(backbone.cpu(), sources, calibration.weights).serving_state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, staging.folder / "model.safetensors")
    staging.write_table("sources", _table(calibration, sources))
    return {
        "cases": len(choices),
        "kept": sorted(calibration.weights),
        "valid_ndcg@10": round(calibration.calibrated, 5),
        "valid_ndcg@10_before": round(calibration.alone, 5),
    }


def _sources(
    settings: CalibrateSettings, supervision: "Supervision | None", histories: "Histories", choices: "Choices"
) -> "list[Source]":
    from eimf.choice import known

    of_items = known.item_sources(histories)
    found: list[Source] = []
    for name in settings.sources:
        if name in of_items:
            found.append(of_items[name])
        elif name == known.COOCCURRENCE:
            found.append(known.factored_cooccurrence(histories, choices, settings.rank))
        else:
            assert supervision is not None, "its artifact is among the parents"
            found.append(known.text_or_interests(name, supervision, histories, choices, settings.rank))
    return found


def _table(calibration: "Calibration", sources: "list[Source]") -> Any:
    """`schema.SOURCES`: a row for each source."""
    import pyarrow as pa

    rows = []
    for source in sources:
        comparison = calibration.comparisons[source.name]
        weights = calibration.weights.get(source.name)
        rows.append(
            (
                source.name,
                [] if weights is None else [float(weight) for weight in weights],
                *(comparison.nats.value, comparison.nats.error, comparison.nats.p),
                *(comparison.ndcg.value, comparison.ndcg.error, comparison.ndcg.p),
            )
        )
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema.SOURCES)
