"""Settings of stages that are off by default: an adapted encoder, item knowledge, picks of next items."""

from eimf.config.base import HashedSettings


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
