"""From artifacts to the arrays and tensors that training and evaluation work on."""

from eimf import schema
from eimf.data.histories import Histories, read_histories
from eimf.semantics.supervision import Supervision, read_supervision, text_alone
from pipeline.stages.stage import Artifacts


def supervision_of(made: Artifacts, source: str | None, histories: Histories) -> Supervision | None:
    """What the trainer reads of a `source`: of `esim` users and interests with the item vectors, of `item_vectors`
    these alone, of None nothing."""
    if source is None:
        return None
    item_vectors = made["item_vectors"].table("vectors")
    if source == "item_vectors":
        return text_alone(item_vectors, histories)
    return read_supervision(item_vectors, made["esim"].table("users"), made["esim"].table("interests"), histories)


def histories_of(made: Artifacts) -> Histories:
    """The events of the `dataset` artifact."""
    return read_histories(made["dataset"].table("events", [schema.USER, schema.ITEM, schema.TIMESTAMP, schema.SPLIT]))
