"""The events of a `dataset` artifact, mapped into memory: processes on one machine share them."""

import numpy as np

from eimf import schema
from eimf.data.histories import Histories, read_histories
from eimf.store.artifact import Artifact


def read_dataset(dataset: Artifact) -> Histories:
    """The events and evaluation cases of a `dataset` artifact. Loads no torch: stage one reads them too. Raises
    ArtifactError and DataError if they are damaged."""
    with_times = "timestamp.npy" in dataset.manifest.files
    return read_histories(
        dataset.array("item_idx", np.int32),
        dataset.table("users", [schema.NUM_EVENTS, schema.NUM_TRAIN]),
        dataset.table("eval_cases"),
        num_items=int(dataset.summary_number("items")),
        timestamps=dataset.array("timestamp", np.float64) if with_times else None,
    )
