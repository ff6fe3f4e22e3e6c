"""Settings of stages that are off by default: an adapted encoder, item knowledge, picks of next items."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from eimf.config.base import HashedSettings
from eimf.types import Seed


class AdaptSettings(HashedSettings):
    """A text encoder adapted to behaviour (stage 1a)."""

    enabled: bool = False
    """Adapt the encoder to which items follow each other in training, before any text is encoded."""


class ItemKnowledgeSettings(HashedSettings):
    """What an LLM knows about each item (stage 1b)."""

    enabled: bool = False
    """Ask the LLM about the items, and give their answers a vector beside that of the title."""


class PickSettings(HashedSettings):
    """Next items that the LLM picks out of real candidates (stage 7a)."""

    enabled: bool = False
    """Ask the LLM which of some items each typical user will want next."""
    candidates: Annotated[int, Field(ge=2, le=100)] = 20
    """Most items offered: those that co-occur most with what the cluster's users had in training."""
    picks: Annotated[int, Field(ge=1, le=99)] = 5
    """How many of them the LLM picks. A cluster with no more candidates than that is not asked about."""
    template: str = "picks"
    """`picks`, or the path of a TOML file like that one. It shows as many titles as `prompt.max_titles`."""
    seed: Seed = 2026
    """Seed of the order in which the candidates are shown."""

    @model_validator(mode="after")
    def _leaves_a_choice(self) -> Self:
        if self.picks >= self.candidates:
            raise ValueError(f"picks={self.picks} of candidates={self.candidates} is no choice; lower picks")
        return self
