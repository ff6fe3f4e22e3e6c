"""Load a trained backbone from a store, to serve it: `eimf.serving` knows no store.

Example:

    from pipeline.serving import load_recommender

    model = load_recommender("artifacts", "0123456789ab")  # the store, and the key of a checkpoint
    for item_id, score in model.recommend([["B0001", "B0002"]], count=10)[0]:
        print(item_id, score)
"""

from pathlib import Path

from eimf import schema
from eimf.backbones.base import Backbone
from eimf.export.checkpoint import TrainedModel, read_backbone, read_configuration
from eimf.serving.recommend import Recommender
from eimf.store.artifact import Artifact, Store


def load_recommender(store: Store | Path | str, key: str) -> Recommender:
    """The recommender of a checkpoint in a store; its key may be shortened. Raises ArtifactError."""
    store = store if isinstance(store, Store) else Store(Path(store))
    checkpoint = store.get("checkpoint", key)
    return recommender_of(checkpoint, store.get("dataset", checkpoint.parent("dataset")))


def recommender_of(checkpoint: Artifact, dataset: Artifact) -> Recommender:
    """The recommender of a `checkpoint`, with the item ids of its `dataset`. Raises ArtifactError."""
    items = schema.checked(dataset.table("items", [schema.ITEM_ID]), schema.ITEMS, [schema.ITEM_ID])
    item_ids = items[schema.ITEM_ID].to_pylist()
    trained, backbone = load_backbone(checkpoint, len(item_ids))
    return Recommender(backbone, item_ids, max_length=trained.model.max_length, keep_seen=trained.keep_seen)


def load_backbone(checkpoint: Artifact, num_items: int) -> tuple[TrainedModel, Backbone]:
    """What a `checkpoint` says was trained, and the trained backbone, ready to serve. Raises ArtifactError if the
    weights do not fit the backbone (before any memory is allocated for them), or if this version of the backbone would
    compute something else with them."""
    name = f"{checkpoint.manifest.kind} {checkpoint.short}"
    trained = read_configuration(checkpoint.manifest.configuration, name)
    return trained, read_backbone(trained, checkpoint.file("model.safetensors"), num_items, name)
