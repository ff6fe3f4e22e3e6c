"""Stage 10: what the interests of an ESIM artifact say about the next item that is not known without them."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from eimf import schema
from eimf.config import RuntimeSettings
from eimf.store.artifact import Artifact, Staging, Store
from pipeline.backends.device import prepare_torch
from pipeline.stages.stage import Artifacts, Stage, Summary, find, find_or_build
from pipeline.stages.vector_file import VectorFile, read_vector_file

if TYPE_CHECKING:
    import pyarrow as pa

    from eimf.choice.cases import Choices
    from eimf.choice.check import CheckedSource
    from eimf.data.histories import Histories

_MAX_LENGTH = 50
"""Events of a history that are looked at without a model, as many as a backbone sees by default."""


def signal_check_stage(
    runtime: RuntimeSettings, *, with_model: bool = False, vectors: Sequence[VectorFile] = ()
) -> Stage:
    """Stage 10, beside a trained model if there is one. It reads no settings of the recipe, so all trainings against
    one ESIM artifact share it."""
    parents = ("dataset", "esim", "checkpoint") if with_model else ("dataset", "esim")
    configuration = {"vectors": {file.name: file.digest for file in vectors}} if vectors else {}
    build = partial(_build_signal_check, runtime, vectors)
    return Stage(10, "signal_check", 4, parents, configuration, build)


def run_signal_check(
    store: Store, artifacts: Artifacts, runtime: RuntimeSettings, vectors: Sequence[VectorFile] = ()
) -> Artifact:
    """The signal check of these artifacts, beside the `checkpoint` if there is one, and of `vectors` too; prints
    nothing if it was done before."""
    stage = signal_check_stage(runtime, with_model="checkpoint" in artifacts, vectors=vectors)
    return find(stage, store, artifacts) or find_or_build(stage, store, artifacts)[0]


def _build_signal_check(
    runtime: RuntimeSettings, vectors: Sequence[VectorFile], artifacts: Artifacts, staging: Staging
) -> Summary:
    device = prepare_torch(runtime)
    from eimf.choice import known
    from eimf.choice.cases import TooFewChoices, read_choices
    from eimf.choice.check import MAX_SCORES, check_sources
    from pipeline.serving import load_backbone
    from pipeline.stages.load import histories_of, supervision_of

    histories = histories_of(artifacts)
    supervision = supervision_of(artifacts, histories)
    assert supervision is not None, "an esim artifact is among the parents"
    max_length, keep_seen, backbone = _MAX_LENGTH, False, None
    if "checkpoint" in artifacts:
        trained, backbone = load_backbone(artifacts["checkpoint"], histories.num_items)
        max_length, keep_seen = trained.model.max_length, trained.keep_seen
    try:
        choices = read_choices(
            histories, schema.VALID, max_length=max_length, keep_seen=keep_seen, max_scores=MAX_SCORES
        )
    except TooFewChoices:
        staging.write_table("gains", schema.SOURCE_GAINS.empty_table())
        return {"cases": 0, "interests": "not shown", "nats": 0.0, "standard_error": 0.0, "ndcg@10": 0.0}
    base = known.exact_sources(histories, supervision, choices)
    if backbone is not None:
        base.sources.insert(0, known.model_source(backbone.to(device), choices))
    asked = known.interest_sources(supervision, histories, choices)
    further = {name: block.numpy() for name, block in supervision.further.items()}
    item_ids = artifacts["dataset"].table("items", [schema.ITEM_ID])[schema.ITEM_ID].to_pylist() if vectors else []
    further |= {file.name: read_vector_file(file, item_ids) for file in vectors}
    for name, values in further.items():
        asked.add(*known.vector_source(name, values, choices))
    checked = check_sources(base.sources, asked.sources, {**base.controls, **asked.controls}, choices)
    staging.write_table("gains", gains_table(checked, choices, histories))
    comparison = checked[known.INTERESTS].comparison
    return {
        "cases": len(choices),
        "interests": comparison.verdict(),
        "nats": round(comparison.nats.value, 6),
        "standard_error": round(comparison.nats.error, 6),
        "ndcg@10": round(comparison.ndcg.value, 6),
    }


def gains_table(checked: "dict[str, CheckedSource]", choices: "Choices", histories: "Histories") -> "pa.Table":
    """`schema.SOURCE_GAINS`."""
    import numpy as np
    import pyarrow as pa

    frequency = histories.frequency()[choices.chosen]
    parts = []
    for name, source in checked.items():
        for control, judged in ((None, source.with_source), *source.controls.items()):
            columns = [
                pa.array([name] * len(choices)),
                pa.array([control] * len(choices), pa.string()),
                choices.user_idx.astype(np.int32),
                source.without.nats,
                judged.nats,
                source.without.rank.astype(np.int32),
                judged.rank.astype(np.int32),
                frequency.astype(np.int64),
                choices.history_end.astype(np.int32),
            ]
            parts.append(pa.table(columns, schema=schema.SOURCE_GAINS))
    return pa.concat_tables(parts)
