"""From artifacts to the arrays and tensors that training and evaluation work on."""

from eimf import schema
from eimf.data.histories import Histories, read_histories
from eimf.semantics.supervision import Supervision, read_supervision, text_only_supervision
from pipeline.stages.stage import Artifacts


def supervision_of(artifacts: Artifacts, histories: Histories) -> Supervision | None:
    """What supervises a training: `item_vectors`, and users and interests of the `esim` artifact if there is one; None
    without `item_vectors`."""
    if "item_vectors" not in artifacts:
        return None
    item_vectors = artifacts["item_vectors"].table("vectors")
    if "esim" not in artifacts:
        return text_only_supervision(item_vectors, histories)
    users, interests = (artifacts["esim"].table(name) for name in ("users", "interests"))
    return read_supervision(item_vectors, users, interests, histories)


def histories_of(artifacts: Artifacts) -> Histories:
    """The events of the `dataset` artifact."""
    return read_histories(
        artifacts["dataset"].table("events", [schema.USER, schema.ITEM, schema.TIMESTAMP, schema.SPLIT])
    )
