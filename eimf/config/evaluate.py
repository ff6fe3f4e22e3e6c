"""Settings of the evaluation."""

from typing import Annotated

from pydantic import Field

from eimf.config.base import HashedSettings


class EvaluateSettings(HashedSettings):
    """The metrics, and the items that are ranked."""

    cutoffs: Annotated[tuple[Annotated[int, Field(ge=1, le=10_000)], ...], Field(min_length=1, max_length=100)] = (
        5,
        10,
        20,
        50,
    )
    """k: the cut-offs of Recall, NDCG, HitRate and MRR."""
    keep_seen: bool | None = None
    """Rank and recommend items again that the user already had: in validation, in the test and in serving. false: such
    items are left out everywhere, and a target that is one of them counts as a miss. By default true under user-split,
    as in the papers that use it, and false under the other protocols."""
