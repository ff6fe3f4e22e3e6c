"""Settings of what is measured."""

from typing import Annotated

from pydantic import Field

from eimf.config.base import HashedSettings


class EvaluateSettings(HashedSettings):
    """What is measured."""

    cutoffs: Annotated[tuple[Annotated[int, Field(ge=1, le=10_000)], ...], Field(min_length=1, max_length=100)] = (
        5,
        10,
        20,
        50,
    )
    """k of Recall, NDCG, HitRate and MRR."""
    keep_seen: bool = False
    """Recommend items that the user had before too: in the validation that stops a training, in the test, and in
    serving alike. Without it such items are left out everywhere, and a target that is one of them is a miss."""
