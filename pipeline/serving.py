"""Load a trained backbone from a store, to serve it: `eimf.serving` knows no store.

Example:

    from pipeline.serving import load_recommender

    model = load_recommender("artifacts", "0123456789ab")  # the store, and the key of a checkpoint or calibration
    for item in model.recommend_one(["B0001", "B0002"], count=10).items:
        print(item.item_id, item.score)
"""

from pathlib import Path

import numpy as np

from eimf import schema
from eimf.backbones.base import Backbone
from eimf.choice.item_statistics import item_scores
from eimf.export.checkpoint import TrainedModel, read_backbone, read_calibrated, read_configuration
from eimf.export.tower import TorchTower
from eimf.serving.catalogue import Catalogue
from eimf.serving.cold_start import MANY, ColdStart, ColdStartPart, ColdStartWeights
from eimf.serving.index import ExactIndex
from eimf.serving.recommend import Recommender
from eimf.store.artifact import Artifact, Store
from pipeline.histories import read_dataset
from pipeline.stores import open_store
from pipeline.trained import CALIBRATION, dataset_of, find_model, training_configuration


def load_recommender(store: Store | Path | str, key: str) -> Recommender:
    """The recommender of a checkpoint or calibration in a store; its key may be shortened. Raises ArtifactError."""
    store = store if isinstance(store, Store) else open_store(store)
    trained = find_model(store, key)
    return recommender_of(trained, dataset_of(store, trained))


def recommender_of(model: Artifact, dataset: Artifact) -> Recommender:
    """The recommender of a checkpoint or calibration, with the item ids of its `dataset`. Raises ArtifactError."""
    catalogue = catalogue_of(dataset)
    trained, backbone = load_backbone(model, len(catalogue))
    table, tower = backbone.item_table.weight.detach().numpy(), TorchTower(backbone)
    return Recommender(
        tower,
        ExactIndex(table),
        catalogue,
        table,
        max_length=trained.model.max_length,
        keep_seen=trained.keep_seen,
        cold_start=_recent_popularity(dataset, table),
        base_width=tower.base_width,
    )


def _recent_popularity(dataset: Artifact, item_table: np.ndarray) -> ColdStart:
    """What answers people without a history; an export fits more than that."""
    recent = ColdStartWeights(recent=1.0)
    weights = ColdStartPart(unnamed=recent, named=(recent,) * (MANY + 1))
    scores, no_names = item_scores(read_dataset(dataset)), np.zeros((1, item_table.shape[1]), np.float32)
    return ColdStart(weights, scores, no_names, item_table)


def catalogue_of(dataset: Artifact) -> Catalogue:
    """The ids and names of the items of a dataset. Raises ArtifactError for another table."""
    columns = [schema.ITEM_ID, schema.TITLE, schema.METADATA]
    items = schema.checked(dataset.table("items", columns), schema.ITEMS, columns)
    return Catalogue(items[schema.ITEM_ID].to_pylist(), schema.display_names(items))


def load_backbone(model: Artifact, num_items: int) -> tuple[TrainedModel, Backbone]:
    """What a checkpoint or calibration says was trained, and the trained backbone, ready to serve: calibrated, if it is
    a calibration. Raises ArtifactError if the weights do not fit the backbone (before any memory is allocated for
    them), or if this version of the backbone would compute something else with them."""
    name = f"{model.manifest.kind} {model.short}"
    is_calibrated = model.manifest.kind == CALIBRATION
    trained = read_configuration(training_configuration(model), name)
    read = read_calibrated if is_calibrated else read_backbone
    return trained, read(trained, model.file("model.safetensors"), num_items, name)
