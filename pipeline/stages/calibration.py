"""Stage 11a: what else decides the next item beside the trained model, with weights from validation events."""

from contextlib import suppress
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
    from eimf.choice.sources import PairSource, Source
    from eimf.data.histories import Histories
    from eimf.semantics.supervision import Supervision


_MAX_SCORES = 1 << 25
"""Scores of all items for all cases: half of what the signal check takes, since a training waits for this stage."""


def calibration_stage(settings: CalibrateSettings, trained: dict[str, Any], runtime: RuntimeSettings) -> Stage:
    """Stage 11a, of the checkpoint with the configuration `trained`, which is repeated in its own: who reads the model
    needs no other artifact."""
    configuration = {"calibrate": settings.model_dump(mode="json"), "trained": trained}
    build = partial(_build_calibration, settings, runtime)
    return Stage("11a", "calibration", 4, settings.reads, configuration, build)


def _build_calibration(
    settings: CalibrateSettings, runtime: RuntimeSettings, artifacts: Artifacts, staging: Staging
) -> Summary:
    device = prepare_torch(runtime)
    from safetensors.torch import save_file

    from eimf.choice.calibrate import Calibration, calibrate, calibrated_model
    from eimf.choice.cases import TooFewChoices, read_choices
    from eimf.choice.design import Design
    from eimf.choice.known import model_source
    from eimf.choice.sources import Source
    from pipeline.serving import load_backbone
    from pipeline.stages.load import histories_of, supervision_of

    histories = histories_of(artifacts)
    trained, backbone = load_backbone(artifacts["checkpoint"], histories.num_items)
    cases, sources, calibration = 0, list[Source](), Calibration()
    with suppress(TooFewChoices):  # then nothing can be shown, and nothing is kept
        choices = read_choices(
            histories,
            schema.VALID,
            max_length=trained.model.max_length,
            keep_seen=trained.keep_seen,
            max_scores=_MAX_SCORES,
        )
        cases, model = len(choices), model_source(backbone.to(device), choices)
        sources, controls = _sources(settings, supervision_of(artifacts, histories), histories, choices)
        every = [model, *sources, *(control for of_source in controls.values() for control in of_source)]
        names = {name: [control.name for control in of_source] for name, of_source in controls.items()}
        calibration = calibrate(Design(every, choices), settings.significance, names)
    weights = calibrated_model(backbone.cpu(), sources, calibration.weights).serving_state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, staging.folder / "model.safetensors")
    staging.write_table("sources", _table(calibration, sources))
    return {
        "cases": cases,
        "kept": sorted(calibration.weights),
        "valid_ndcg@10": round(calibration.calibrated, 5),
        "valid_ndcg@10_before": round(calibration.alone, 5),
    }


def _sources(
    settings: CalibrateSettings, supervision: "Supervision | None", histories: "Histories", choices: "Choices"
) -> "tuple[list[Source], dict[str, list[PairSource]]]":
    """The sources in their order, and the controls of each that has any, by its name."""
    from eimf.choice import known

    of_items, rank = known.item_sources(histories), settings.rank
    sources: list[Source] = []
    controls: dict[str, list[PairSource]] = {}
    for name in settings.sources or ():
        if name in of_items:
            sources.append(of_items[name])
        elif name == known.COOCCURRENCE:
            sources.append(known.factored_cooccurrence(histories, choices, rank))
        else:
            assert supervision is not None, "its artifact is among the parents"
            sources.append(known.text_or_interests(name, supervision, histories, choices, rank))
            controls[name] = known.factored_controls(name, supervision, histories, choices, rank)
    return sources, controls


def _table(calibration: "Calibration", sources: "list[Source]") -> Any:
    """`schema.SOURCES`: a row for each source."""
    import pyarrow as pa

    rows = []
    for source in sources:
        comparison = calibration.comparisons[source.name]
        weights = [float(weight) for weight in calibration.weights.get(source.name, ())]
        gains = (comparison.nats, comparison.ndcg, comparison.over_control)
        numbers = [(None,) * 3 if gain is None else (gain.value, gain.error, gain.p) for gain in gains]
        rows.append((source.name, weights, *(number for three in numbers for number in three)))
    names = schema.SOURCES.names
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=schema.SOURCES)
