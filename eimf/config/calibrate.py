"""Settings of the last layer: how much the model and everything else count (METHOD, calibration)."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator

from eimf.config.base import HashedSettings
from eimf.types import Size

SourceName = Literal["popularity", "lifecycle", "cooccurrence", "text", "lexical", "knowledge", "interests"]
_TEXTS = {"text", "lexical", "knowledge"}
_PRESETS: dict[str, tuple[SourceName, ...]] = {
    "modern": ("popularity", "lifecycle", "cooccurrence", "text", "interests")
}
"""What a preset of `HeadSettings` calibrates with; the others do not."""


class CalibrateSettings(HashedSettings):
    """A conditional logit on top of the trained model, fitted on validation events. Every source has a weight of its
    own, and keeps it only if it adds something to the others; what an LLM said, only if it adds more than its
    controls."""

    sources: tuple[SourceName, ...] | None = None
    """What may be added to the score of the model. popularity: an item's share of all and of the last training events.
    lifecycle: its mean place in the histories. cooccurrence: items that the same users had. text, lexical, knowledge:
    cosines of the items' text vectors of this kind. interests: the LLM's. Empty: nothing, and there is no such
    stage. Unset: what the preset has (`heads.preset`); modern has popularity, lifecycle, cooccurrence, text and
    interests, the others nothing."""
    rank: Size = 128
    """Coordinates that each source of pairs of items (cooccurrence, text and so on) adds to users and items."""
    significance: Annotated[float, Field(gt=0, le=1)] = 0.05
    """A source stays only if its gain has a smaller p."""

    @field_validator("sources")
    @classmethod
    def _distinct(cls, sources: tuple[str, ...] | None) -> tuple[str, ...] | None:
        names = sources or ()
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name!r} occurs twice; write each source once")
        return sources

    def of_preset(self, preset: str) -> Self:
        """These settings with the sources written out: those of the preset if they are unset."""
        return self.model_copy(update={"sources": _PRESETS.get(preset, ())}) if self.sources is None else self

    @property
    def source(self) -> Literal["item_vectors", "esim"] | None:
        """Kind of the artifact that is read in addition to the dataset and the checkpoint."""
        names = set(self.sources or ())
        if "interests" in names:
            return "esim"
        return "item_vectors" if _TEXTS & names else None

    @property
    def reads(self) -> tuple[str, ...]:
        """Kinds of the artifacts that calibration reads."""
        return ("dataset", "checkpoint", *([self.source] if self.source else []))
