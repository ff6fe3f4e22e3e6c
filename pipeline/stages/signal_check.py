"""Stage 10: what the interests of an ESIM artifact say about what users do next."""

from typing import Any

from eimf.store.artifact import Staging
from pipeline.backends.device import prepare_torch
from pipeline.stages.stage import Artifacts, Run, Stage

_SEED = 2026
"""Of the probe: one for all trainings, so that they agree on what enters."""


def _build_probe(run: Run, made: Artifacts, staging: Staging) -> dict[str, Any]:
    prepare_torch(run.recipe.runtime)
    from eimf.semantics.signal_check import gain, probe, readings_table
    from pipeline.stages.load import histories_of, supervision_of

    histories = histories_of(made)
    supervision = supervision_of(made, histories)
    assert supervision is not None, "an esim artifact is among the parents"
    users, found = probe(supervision, histories, _SEED)
    staging.write_table("readings", readings_table(found, users))
    adds, error = gain(found, "true")
    return {"users": len(users), "adds": round(adds, 6), "error": round(error, 6)}


PROBE = Stage(10, "probe", 2, ("dataset", "esim"), lambda run: {}, _build_probe)
