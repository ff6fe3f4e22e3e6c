"""From a recipe to a training: artifacts, settings and keys.

This is the only part of stage two that reads a recipe. `prepare` builds what is missing, and prints what it builds;
`resolve` only reads the store.
"""

from dataclasses import dataclass
from typing import Literal, NoReturn

from eimf.config import CalibrateSettings
from eimf.errors import ArtifactError, DataError, SettingError
from eimf.store.artifact import Artifact, Store
from pipeline.backends.device import fit_process
from pipeline.recipe import Recipe
from pipeline.stages.base import as_extended, base_artifacts
from pipeline.stages.calibration import calibration_stage
from pipeline.stages.checkpoint import checkpoint_stage
from pipeline.stages.dataset import dataset_stage
from pipeline.stages.item_table import require_item_table, require_texts
from pipeline.stages.lockfile import read_lock, save_lock, settings_behind
from pipeline.stages.metrics import metrics_stage
from pipeline.stages.stage import Stage, find, find_or_build, keys_of
from pipeline.trained import CALIBRATION, CHECKPOINT
from pipeline.training.job import TrainingJob

SourceKind = Literal["item_vectors", "esim"]


@dataclass(frozen=True)
class ResolvedTraining:
    """One training: what it reads, its settings, and its stages with their keys."""

    label: str
    """Short name for tables."""
    artifacts: dict[str, Artifact]
    """By kind: the `dataset`; `item_vectors` if training or calibration reads texts or interests; `esim` if
    interests."""
    job: TrainingJob
    checkpoint: Stage
    calibration: Stage | None
    """None if it has no sources."""
    metrics: Stage

    @property
    def dataset(self) -> Artifact:
        return self.artifacts["dataset"]

    @property
    def source(self) -> Artifact | None:
        """What is read in addition to the dataset: an `esim` comes with the `item_vectors` it was built from."""
        return self.artifacts.get("esim") or self.artifacts.get("item_vectors")

    @property
    def checkpoint_key(self) -> str:
        return self.checkpoint.key(keys_of(self.artifacts))

    @property
    def metrics_key(self) -> str:
        keys = {**keys_of(self.artifacts), "checkpoint": self.checkpoint_key}
        if self.calibration is not None:
            keys["calibration"] = self.calibration.key(keys)
        return self.metrics.key(keys)


def prepare(recipe: Recipe, store: Store, esim_key: str | None = None) -> dict[str, Artifact]:
    """Do what `resolve` relies on: refuse a backbone that cannot be built, and build the dataset if the training needs
    nothing else of stage one. Returns the artifacts that `resolve_against` takes.

    Raises SettingError, DataError or ArtifactError."""
    fit_process()
    from eimf.backbones.build import check_backbone

    check_backbone(recipe.model)
    recipe = as_extended(recipe, store, esim_key)
    dataset = _find_dataset(recipe, store, build=source_of(recipe) is None)
    return _stage_two_artifacts(dataset, recipe, store, esim_key)


def prepare_and_resolve(recipe: Recipe, store: Store, esim_key: str | None = None) -> ResolvedTraining:
    """`prepare`, then `resolve`, with one look at the raw files, which are hashed to know the dataset."""
    return resolve_against(prepare(recipe, store, esim_key), recipe)


def find_or_build_dataset(recipe: Recipe, store: Store) -> Artifact:
    """Stage 1 of a recipe: from the store, or built; that of the lock file if the raw files are not here. Raises
    DataError if there is none either."""
    store.remove_stale()
    behind = settings_behind(recipe, "dataset")
    try:
        stage = dataset_stage(recipe)
    except DataError:
        if (locked := read_lock(store, behind)) is None:
            raise
        return locked
    dataset, _ = find_or_build(stage, store, base_artifacts(recipe, store))
    save_lock(store, behind, dataset)
    return dataset


def resolve(recipe: Recipe, store: Store, esim_key: str | None = None) -> ResolvedTraining:
    """The training that a recipe describes, against its own artifacts or against the `esim` artifact with this key.

    Only reads: the store, and the raw files if they are present. It builds nothing and computes nothing in torch.
    Raises ArtifactError if the store lacks an artifact, or if the given one belongs to another dataset."""
    return resolve_against(stage_two_artifacts(recipe, store, esim_key), recipe)


def resolve_against(artifacts: dict[str, Artifact], recipe: Recipe) -> ResolvedTraining:
    """The training that a recipe describes, against the result of `stage_two_artifacts`. Raises SettingError for picks
    that the LLM was not asked for."""
    if recipe.heads.uses_picks:
        _require_picks(artifacts["esim"])
    job = TrainingJob(recipe.model, recipe.heads, recipe.train, recipe.keep_seen, recipe.runtime)
    checkpoint, calibration = checkpoint_stage(job), None
    if recipe.calibration.sources:
        calibration = calibration_stage(recipe.calibration, checkpoint.configuration, recipe.runtime)
    served = CHECKPOINT if calibration is None else CALIBRATION
    metrics = metrics_stage(recipe.evaluate.cutoffs, recipe.keep_seen, recipe.runtime, served)
    return ResolvedTraining(label_of(recipe), artifacts, job, checkpoint, calibration, metrics)


def stage_two_artifacts(recipe: Recipe, store: Store, esim_key: str | None = None) -> dict[str, Artifact]:
    """The `dataset`, and what supervises (`HeadSettings.source`), if anything does: the recipe's own artifact, or the
    `esim` of this key. An `esim` comes with its `item_vectors`. Raises ArtifactError."""
    recipe = as_extended(recipe, store, esim_key)
    return _stage_two_artifacts(_find_dataset(recipe, store), recipe, store, esim_key)


def _stage_two_artifacts(
    dataset: Artifact | None, recipe: Recipe, store: Store, esim_key: str | None
) -> dict[str, Artifact]:
    dataset, source = dataset or _missing(recipe, store, "dataset"), source_of(recipe)
    if source is not None:
        require_texts(dataset, _asker(recipe))
    given = _given_esim(esim_key, dataset, store) if esim_key else None
    if source is None:
        return {"dataset": dataset}
    if given is not None:
        return _of_source(source, {"dataset": dataset, "esim": given}, store)
    artifact = read_lock(store, settings_behind(recipe, source), dataset.key) or _missing(recipe, store, source)
    return _of_source(source, {"dataset": dataset, source: artifact}, store)


def source_of(recipe: Recipe) -> SourceKind | None:
    """Kind of the artifact that training and calibration read in addition to the dataset: an `esim` comes with its
    `item_vectors`."""
    needs = (recipe.heads.source, recipe.calibration.source)
    return "esim" if "esim" in needs else needs[0] or needs[1]


def _asker(recipe: Recipe) -> str:
    """What needs the items' texts."""
    return f"the preset {recipe.heads.preset}" if recipe.heads.source else "calibrate.sources"


def label_of(recipe: Recipe) -> str:
    """Short name of a training for tables: its preset and what differs from it."""
    heads, sources = recipe.heads, recipe.calibration.sources
    changed = "".join(f" {name}={value}" for name, value in heads.overrides().items())
    control = f" {heads.control}" if heads.control != "llm" else ""
    as_preset = sources == CalibrateSettings().of_preset(heads.preset).sources
    calibrated = "" if as_preset else ", calibrated" if sources else ", not calibrated"
    seen = ", seen items kept" if recipe.keep_seen else ""
    name = "plain" if heads.plain else heads.preset + changed
    return f"{recipe.model.backbone} {name}{control}{calibrated}{seen}"


def _find_dataset(recipe: Recipe, store: Store, *, build: bool = False) -> Artifact | None:
    """The dataset of the raw files if they are present, so that a changed file is noticed; else that of the lock. With
    `build`, stage 1 runs if the raw files are present and the store lacks their dataset."""
    try:
        stage = dataset_stage(recipe)
    except DataError as error:  # a training node
        return read_lock(store, settings_behind(recipe, "dataset")) or _no_data(recipe, store, error)
    base = base_artifacts(recipe, store)
    dataset = find(stage, store, base)
    if dataset is None and source_of(recipe) is not None:
        require_item_table(recipe, _asker(recipe))
    if dataset is None and build:
        dataset, _ = find_or_build(stage, store, base)
        save_lock(store, settings_behind(recipe, "dataset"), dataset)
    return dataset


def _of_source(source: str | None, artifacts: dict[str, Artifact], store: Store) -> dict[str, Artifact]:
    """The dataset with all artifacts that a training of this source reads: those given, or what the `esim` was built
    from."""
    kept = {"dataset": artifacts["dataset"]}
    if source is not None:
        kept["item_vectors"] = artifacts.get("item_vectors") or store.parent(artifacts["esim"], "item_vectors")
    if source == "esim":
        kept["esim"] = artifacts["esim"]
    return kept


def _given_esim(key: str, dataset: Artifact, store: Store) -> Artifact:
    esim = store.get("esim", key)
    if esim.parent("dataset") != dataset.key:
        problem = f"{esim.short} was built from dataset {esim.parent('dataset')[:12]}, this recipe's is {dataset.short}"
        raise ArtifactError("esim", problem, "give an artifact of this dataset, or the recipe of that one")
    return esim


def _require_picks(esim: Artifact) -> None:
    if "picks" not in esim.manifest.parents:
        problem = f"esim {esim.short} has no picks of the LLM"
        hint = "set picks.enabled=true and run `make esim`, or set heads.smoothing.pick=0"
        raise SettingError("heads.smoothing.pick", problem, hint)


def _missing(recipe: Recipe, store: Store, kind: str) -> NoReturn:
    problem = f"{store.address} holds none for this recipe's data and stage-one settings"
    hint = "run `make esim` with the same recipe and settings, or copy the store from where that was done"
    raise ArtifactError(f"{kind} of {recipe.dataset.name!r}", problem, hint)  # a sweep has several recipes


def _no_data(recipe: Recipe, store: Store, error: DataError) -> NoReturn:
    problem = f"{error.problem}, and {store.address} holds no dataset for these settings"
    raise ArtifactError(error.field, problem, f"{error.hint}; or copy the store from where `make esim` was done")
