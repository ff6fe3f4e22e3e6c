"""Stage 10: how well the interests of an ESIM artifact predict what users do next, without training."""

from functools import partial

from eimf.config import RuntimeSettings
from eimf.store.artifact import Artifact, Staging, Store
from pipeline.backends.device import prepare_torch
from pipeline.stages.stage import Artifacts, Stage, Summary, find, find_or_build

_SEED = 2026
"""One for all trainings, so that they agree on what the interests add."""


def signal_check_stage(runtime: RuntimeSettings) -> Stage:
    """Stage 10. It reads no settings of the recipe, so all trainings against one ESIM artifact share it."""
    return Stage(10, "signal_check", 3, ("dataset", "esim"), {}, partial(_build_signal_check, runtime))


def find_signal_check(store: Store, artifacts: Artifacts) -> Artifact | None:
    """The finished signal check of these artifacts, or None."""
    return find(signal_check_stage(RuntimeSettings()), store, artifacts)


def run_signal_check(store: Store, artifacts: Artifacts, runtime: RuntimeSettings) -> Artifact:
    """The signal check of these artifacts; prints nothing if it was done before."""
    finished = find_signal_check(store, artifacts)
    return finished or find_or_build(signal_check_stage(runtime), store, artifacts)[0]


def _build_signal_check(runtime: RuntimeSettings, artifacts: Artifacts, staging: Staging) -> Summary:
    prepare_torch(runtime)
    from eimf.semantics.signal_check import auc_table, check_signal, mean_by_user, signal_gain
    from pipeline.stages.load import histories_of, supervision_of

    histories = histories_of(artifacts)
    supervision = supervision_of(artifacts, histories)
    assert supervision is not None, "an esim artifact is among the parents"
    users, auc_by_source = check_signal(supervision, histories, _SEED)
    staging.write_table("auc", auc_table(auc_by_source, users))
    mean, standard_error = signal_gain(mean_by_user(auc_by_source, users))
    return {
        "users": len(users.unique()),
        "targets": len(users),
        "gain": round(mean, 6),
        "standard_error": round(standard_error, 6),
    }
