"""From artifacts to the arrays and tensors that training and evaluation work on."""

from eimf import schema
from eimf.data.histories import Histories, read_histories
from eimf.semantics.supervision import Supervision, read_supervision, text_alone
from pipeline.stages.stage import Artifacts


def supervision_of(made: Artifacts, histories: Histories) -> Supervision | None:
    """What the `esim` artifact gives the trainer, or the `item_vectors` where that is all it takes; None where it takes
    nothing."""
    if "esim" not in made and "item_vectors" not in made:
        return None
    if "esim" not in made:
        return text_alone(made["item_vectors"].table("vectors"), histories)
    items, users, interests = (made["esim"].table(name) for name in ("items", "users", "interests"))
    return read_supervision(items, users, interests, histories)


def histories_of(made: Artifacts) -> Histories:
    """The events of the `dataset` artifact."""
    return read_histories(made["dataset"].table("events", [schema.USER, schema.ITEM, schema.TIMESTAMP, schema.SPLIT]))
