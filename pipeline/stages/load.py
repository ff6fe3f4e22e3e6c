"""From artifacts to the arrays and tensors that training and evaluation work on."""

from eimf import schema
from eimf.data.histories import Histories, read_histories
from eimf.semantics.supervision import Supervision, read_supervision, text_alone
from pipeline.stages.stage import Artifacts


def supervision_of(artifacts: Artifacts, histories: Histories) -> Supervision | None:
    """What supervises a training: the `esim` artifact, or the `item_vectors` if there is no `esim`; None if there is
    neither."""
    if "esim" not in artifacts and "item_vectors" not in artifacts:
        return None
    if "esim" not in artifacts:
        return text_alone(artifacts["item_vectors"].table("vectors"), histories)
    items, users, interests = (artifacts["esim"].table(name) for name in ("items", "users", "interests"))
    return read_supervision(items, users, interests, histories)


def histories_of(artifacts: Artifacts) -> Histories:
    """The events of the `dataset` artifact."""
    return read_histories(
        artifacts["dataset"].table("events", [schema.USER, schema.ITEM, schema.TIMESTAMP, schema.SPLIT])
    )
