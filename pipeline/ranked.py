"""Trainings to compare, from a store: the ranks of the same test cases, and the slices of these. No model is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.data.eval_cases import EvalCases
from eimf.data.histories import Histories
from eimf.errors import ArtifactError, SettingError
from eimf.evaluation.case_values import read_ranks
from eimf.evaluation.slices import Slices, StageOneUsers, slices_of
from eimf.store.artifact import Artifact, Store
from pipeline.histories import read_dataset
from pipeline.trained import CALIBRATION, KINDS, training_configuration

METRICS = "metrics"


@dataclass(frozen=True)
class Side:
    """One training of a comparison: what it is called, and its ranks [R] for each seed."""

    label: str
    runs: Mapping[int, np.ndarray]


@dataclass(frozen=True)
class Pair:
    """Two trainings with the ranks of the relevant items of the same `cases`, and the `slices` of these items.
    `largest_k`: larger cut-offs cannot be had from these ranks."""

    label: str
    base: Side
    other: Side
    cases: EvalCases
    slices: Slices
    largest_k: int | None = None


def find_metrics(store: Store, key: str) -> Artifact:
    """The metrics with this `key`, or those of the checkpoint or calibration with this key, which may be shortened.
    Raises ArtifactError if there are none or several."""
    listing = store.listing()
    kinds = [kind for kind, name in listing if kind in (METRICS, *KINDS) and name.startswith(key)]
    if len(kinds) != 1:
        problem = f"{len(kinds)} metrics, checkpoints and calibrations begin with {key[:100]!r} in {store.address}"
        raise ArtifactError(METRICS, problem, "see `eimf status` for what the store holds")
    artifact = store.get(kinds[0], key)
    if kinds[0] == METRICS:
        return artifact
    measured = [store.get(METRICS, name) for kind, name in listing if kind == METRICS]
    measured = [one for one in measured if one.manifest.parents.get(kinds[0]) == artifact.key]
    if len({_keep_seen(one) for one in measured}) != 1:
        problem = f"{len(measured)} metrics in {store.address} are of {kinds[0]} {artifact.short}"
        hint = "give the key of one of them" if measured else "measure it by `eimf evaluate`, or give its calibration"
        raise ArtifactError(METRICS, problem, hint)
    return measured[0]  # others have further cut-offs, and the same ranks


def pair_of(store: Store, base: Sequence[str], other: Sequence[str], esim: str | None = None) -> Pair:
    """The trainings with these keys, one for each seed. The slices of stage one are by the ESIM artifact `esim`, or by
    the only one that these were trained on. Raises ArtifactError, and SettingError if they do not pair."""
    if not all((*base, *other)):
        raise SettingError("compare", "a key is missing or empty", "write KEY, or KEY,KEY without blanks")
    sides = [[find_metrics(store, key) for key in keys] for keys in (base, other)]
    metrics = [run for side in sides for run in side]
    if repeated := [run.short for place, run in enumerate(metrics) if run.key in {m.key for m in metrics[:place]}]:
        raise SettingError("compare", f"metrics {repeated[0]} are given twice", "give each training once")
    return pair_of_metrics(store, *sides, esim=esim)


def pair_of_metrics(
    store: Store, base: Sequence[Artifact], other: Sequence[Artifact], *, label: str = "", esim: str | None = None
) -> Pair:
    """As `pair_of`, of artifacts of the kind METRICS."""
    metrics = [*base, *other]
    _require_equal(metrics, "dataset", lambda run: run.parent("dataset")[:12])
    _require_equal(metrics, "evaluate.keep_seen", _keep_seen)
    dataset = store.parent(metrics[0], "dataset")
    histories = read_dataset(dataset)
    cases = histories.cases[schema.TEST]
    stage_one = _stage_one(store, metrics, esim)
    users = None if stage_one is None else stage_one_users(store, stage_one, dataset, histories)
    return Pair(label, _side(store, base, cases), _side(store, other, cases), cases, slices_of(cases, histories, users))


def stage_one_users(store: Store, esim: Artifact, dataset: Artifact, histories: Histories) -> StageOneUsers:
    """What an ESIM artifact of this dataset knows of its users; without similarities if the store lacks the item
    vectors. Raises ArtifactError for an artifact of another dataset."""
    if esim.parent("dataset") != dataset.key:
        problem = f"{esim.short} is of dataset {esim.parent('dataset')[:12]}, the metrics are of {dataset.short}"
        raise ArtifactError("esim", problem, "give one of this dataset by --esim")
    users = schema.checked(esim.table("users"), schema.ESIM_USERS)
    cluster, position = (users[name].to_numpy() for name in (schema.CLUSTER, schema.LAST_PROMPTED_POSITION))
    item_vectors = store.find("item_vectors", esim.parent("item_vectors"))
    if item_vectors is None:
        return StageOneUsers(position >= 0)
    vectors = schema.vectors_of(item_vectors.table("vectors"))
    return StageOneUsers(position >= 0, _similarity(histories, vectors, cluster, np.flatnonzero(position >= 0)))


def _similarity(histories: Histories, item_vectors: np.ndarray, cluster: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """The cosine [U] of each user to the nearest of the users `typical` of the same cluster [U]; not a number without
    one."""
    from eimf.esim.coverage import cosines_to_typical
    from eimf.esim.user_vectors import user_vectors

    vectors = user_vectors(histories, item_vectors)
    typical = typical[np.argsort(cluster[typical], kind="stable")]
    columns = (cluster[typical].astype(np.int32), typical.astype(np.int32))
    table = pa.table(list(columns), schema=schema.TYPICAL_USERS)
    cosines = cosines_to_typical(vectors, cluster, table, vectors[typical])
    return np.where((cluster >= 0) & np.isin(cluster, cluster[typical]), cosines, np.nan)


def _stage_one(store: Store, metrics: Sequence[Artifact], key: str | None) -> Artifact | None:
    """The ESIM artifact with this key; without one, that of the trainings, if there is exactly one."""
    if key is not None:
        return store.get("esim", key)
    keys = {name for run in metrics for name in _behind(store, run, "esim")}
    return store.find("esim", keys.pop()) if len(keys) == 1 else None


def _behind(store: Store, artifact: Artifact, kind: str) -> set[str]:
    """Keys of the artifacts of this kind that a training, its calibration or its metrics were made from."""
    parents = artifact.manifest.parents
    found = {parents[kind]} if kind in parents else set()
    for model in KINDS:
        if model in parents and (behind := store.find(model, parents[model])) is not None:
            found |= _behind(store, behind, kind)
    return found


def _side(store: Store, metrics: Sequence[Artifact], cases: EvalCases) -> Side:
    """Raises SettingError if these are not one training with several seeds."""
    runs: dict[int, np.ndarray] = {}
    configurations = []
    for run in metrics:
        model = store.parent(run, next(kind for kind in KINDS if kind in run.manifest.parents))
        configuration = _without_seed(model)
        configurations.append(configuration)
        seed = int(training_configuration(model)["train"]["seed"])
        if configuration != configurations[0] or seed in runs:
            problem = f"metrics {metrics[0].short} and {run.short} are not of one training with different seeds"
            raise SettingError("compare", problem, "join with commas only the seeds of one training")
        runs[seed] = read_ranks(run.table("ranks"), cases)
    backbone = configurations[0]["trained"]["model"]["backbone"]
    seeds = " ".join(map(str, runs))
    of = f"{model.manifest.kind} {model.short}" if len(runs) == 1 else f"{len(runs)} {model.manifest.kind}s"
    return Side(f"{backbone}, {of}, seed{'s' * (len(runs) > 1)} {seeds}", runs)


def _without_seed(model: Artifact) -> dict[str, Any]:
    """What a checkpoint or calibration was made by and from, apart from the seed of the training."""
    trained = training_configuration(model)
    train = {name: value for name, value in trained["train"].items() if name != "seed"}
    calibrated = model.manifest.configuration if model.manifest.kind == CALIBRATION else {}
    parents = {kind: key for kind, key in model.manifest.parents.items() if kind not in KINDS}
    return {**calibrated, "trained": {**trained, "train": train}, "parents": parents}


def _keep_seen(metrics: Artifact) -> bool:
    return bool(metrics.manifest.configuration["evaluate"]["keep_seen"])


def _require_equal(metrics: Sequence[Artifact], field: str, value: Any) -> None:
    first = value(metrics[0])
    for run in metrics[1:]:
        if value(run) != first:
            problem = f"metrics {metrics[0].short} have {first}, metrics {run.short} have {value(run)}"
            raise SettingError(field, problem, "compare trainings that were measured on the same test cases")
