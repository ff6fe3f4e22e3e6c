"""Which interests name what a bundle recommends, and the labels they become."""

from typing import TYPE_CHECKING

import numpy as np

from eimf import schema
from eimf.data.histories import Histories
from eimf.data.windows import pad_windows, window_index
from eimf.errors import ArtifactError
from eimf.serving.tower import Tower
from eimf.store.artifact import Artifact, Store
from pipeline.console import info

if TYPE_CHECKING:
    from eimf.export.labels import BuiltLabels

_SAMPLE = 1000
"""Users whose interests decide from which cosine on a label is trusted."""


def find_esim(store: Store, checkpoint: Artifact, key: str | None) -> Artifact | None:
    """The ESIM artifact for the labels: the one of this `key`, that of the training, or the newest of its dataset in
    the store; None if there is none. Says which in a line. Raises ArtifactError for one of another dataset."""
    dataset = checkpoint.parent("dataset")
    if key is not None:
        esim = store.get("esim", key)
        if esim.parent("dataset") != dataset:
            problem = f"it was made from dataset {esim.parent('dataset')[:12]}, and the training from {dataset[:12]}"
            raise ArtifactError(f"esim {esim.short}", problem, "name an ESIM artifact of the same dataset")
        info(f"       labels: the interests of esim {esim.short}")
        return esim
    if "esim" in checkpoint.manifest.parents:
        esim = store.parent(checkpoint, "esim")
        info(f"       labels: the interests of esim {esim.short}, which the training used")
        return esim
    every = (store.get(kind, name) for kind, name in store.listing() if kind == "esim")
    of_dataset = [esim for esim in every if esim.manifest.parents.get("dataset") == dataset]
    if not of_dataset:
        info("       labels: none, the store has no interests of this dataset")
        return None
    esim = max(of_dataset, key=lambda esim: (esim.manifest.created, esim.key))
    info(f"       labels: the interests of esim {esim.short}, the newest of this dataset; the training used none")
    return esim


def labels_of(
    store: Store, esim: Artifact, tower: Tower, item_table: np.ndarray, histories: Histories, max_length: int
) -> "BuiltLabels":
    """The labels of a backbone with this `tower` and `item_table` [N + 1, D]. Raises ArtifactError."""
    from eimf.export.labels import build_labels
    from eimf.export.phrases import read_phrases

    vectors = store.parent(esim, "item_vectors").table("vectors")
    schema.checked(vectors, schema.item_vectors(schema.width_of(vectors)))
    interests = store.parent(esim, "interests").table("interests")
    phrases = read_phrases(interests, store.parent(esim, "interest_vectors").table("vectors"))
    sample = _interests(tower, histories, max_length)
    return build_labels(phrases, schema.vectors_of(vectors), item_table[1:], sample)


def _interests(tower: Tower, histories: Histories, max_length: int) -> np.ndarray | None:
    """The interests [Q, K, D] of users drawn by chance, after their training events; None without any."""
    users = np.flatnonzero(histories.num_train > 0)
    if not len(users):
        return None
    users = np.sort(np.random.default_rng(0).permutation(users)[:_SAMPLE])
    begin = histories.offsets[users]
    length = histories.num_train[users]
    index = window_index(begin, begin + length, max_length)
    times = None
    if tower.uses_timestamps and histories.timestamps is not None:
        times = pad_windows(histories.timestamps, index).astype(np.float64)
    return tower.interests(pad_windows(histories.item_idx, index), np.minimum(length, max_length), times)
