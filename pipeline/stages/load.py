"""From artifacts to the arrays and tensors that training and evaluation work on."""

from typing import TYPE_CHECKING

from eimf.data.histories import Histories
from pipeline.histories import read_dataset
from pipeline.stages.stage import Artifacts

if TYPE_CHECKING:
    from eimf.semantics.supervision import Supervision


def supervision_of(artifacts: Artifacts, histories: Histories) -> "Supervision | None":
    """What supervises a training: `item_vectors`, and users and interests of the `esim` artifact if there is one; None
    without `item_vectors`."""
    if "item_vectors" not in artifacts:
        return None
    from eimf.semantics.supervision import read_supervision, text_only_supervision

    item_vectors = artifacts["item_vectors"].table("vectors")
    if "esim" not in artifacts:
        return text_only_supervision(item_vectors, histories)
    esim = artifacts["esim"]
    picks = esim.table("picks") if "picks" in esim.manifest.parents else None
    return read_supervision(item_vectors, esim.table("users"), esim.table("interests"), histories, picks)


def histories_of(artifacts: Artifacts) -> Histories:
    """The events and evaluation cases of the `dataset` artifact, as `read_dataset` reads them."""
    return read_dataset(artifacts["dataset"])
