"""Name the items of a bundle by the interests of an ESIM artifact: labels, a menu, and answers for new users."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eimf import schema
from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from pipeline.console import info
from pipeline.trained import dataset_of, training_of

if TYPE_CHECKING:
    from eimf.export.cold_start import BuiltColdStart
    from eimf.export.cold_start_design import Model
    from eimf.export.labels import BuiltLabels


@dataclass(frozen=True)
class Naming:
    """The labels of a bundle, None without any; its menu, as their numbers; and its cold start."""

    labels: "BuiltLabels | None"
    menu: list[int]
    cold_start: "BuiltColdStart"


def find_esim(store: Store, model: Artifact, key: str | None) -> Artifact | None:
    """The ESIM artifact for the labels: the one of this `key`, that of the training, or the newest of its dataset in
    the store; None if there is none. Says which in a line. Raises ArtifactError for one of another dataset."""
    dataset = dataset_of(store, model).key
    if key is not None:
        esim = store.get("esim", key)
        if esim.parent("dataset") != dataset:
            problem = f"it was made from dataset {esim.parent('dataset')[:12]}, and the training from {dataset[:12]}"
            raise ArtifactError(f"esim {esim.short}", problem, "name an ESIM artifact of the same dataset")
        info(f"       labels: the interests of esim {esim.short}")
        return esim
    training = model if "esim" in model.manifest.parents else training_of(store, model)
    if "esim" in training.manifest.parents:
        esim = store.parent(training, "esim")
        info(f"       labels: the interests of esim {esim.short}, which the training used")
        return esim
    of_dataset = [esim for esim in finished(store, "esim") if esim.manifest.parents.get("dataset") == dataset]
    if not of_dataset:
        info("       labels: none, the store has no interests of this dataset")
        return None
    esim = max(of_dataset, key=lambda esim: (esim.manifest.created, esim.key))
    info(f"       labels: the interests of esim {esim.short}, the newest of this dataset; the training used none")
    return esim


def finished(store: Store, kind: str) -> list[Artifact]:
    """The artifacts of a kind, without half copies. Raises ArtifactError for a damaged one."""
    every = (store.find(name, key) for name, key in store.listing() if name == kind)
    return [artifact for artifact in every if artifact is not None]


def build_naming(store: Store, esim: Artifact | None, model: "Model", sample: np.ndarray) -> Naming:
    """The names that the interests of `esim` give a trained `model`, with the interests [Q, K, D] of a `sample` of
    users. Raises ArtifactError."""
    from eimf.export.cold_start import build_cold_start, texts_of
    from eimf.export.labels import build_labels
    from eimf.export.phrases import read_phrases

    if esim is None:
        return Naming(None, [], build_cold_start(model, None))
    vectors = store.parent(esim, "item_vectors").table("vectors")
    schema.checked(vectors, schema.item_vectors(schema.width_of(vectors)))
    item_texts = schema.vectors_of(vectors)
    interests = store.parent(esim, "interests").table("interests")
    phrases = read_phrases(interests, store.parent(esim, "interest_vectors").table("vectors"))
    labels = build_labels(phrases, item_texts, model.item_vectors[1:], sample, base_width=model.base_width)
    if not len(labels):
        info("       labels: none, no interest agrees with the items that it names")
        return Naming(None, [], build_cold_start(model, None))
    texts = texts_of(model.histories, item_texts, phrases, labels.interest_ids)
    return Naming(labels, [int(number) for number in texts.menu], build_cold_start(model, texts))
