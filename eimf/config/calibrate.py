"""Settings of the last layer: how much the model and everything else count (METHOD, calibration)."""

from typing import Annotated, Literal

from pydantic import Field

from eimf.config.base import HashedSettings
from eimf.types import Size

SourceName = Literal["popularity", "recency", "lifecycle", "cooccurrence", "text", "interests"]


class CalibrateSettings(HashedSettings):
    """A conditional logit on top of the trained model, fitted on validation events. Every source has a weight of its
    own, and keeps it only if it adds something to the others."""

    sources: tuple[SourceName, ...] = ()
    """What is added to the score of the model; empty: nothing, and there is no such stage."""
    rank: Size = 64
    """Coordinates that a source of pairs of items (co-occurrence, text) adds to the vectors of users and items."""
    significance: Annotated[float, Field(gt=0, le=1)] = 0.05
    """A source stays only if its gain has a smaller p."""
