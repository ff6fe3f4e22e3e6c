"""Settings of stages that are off by default: an adapted encoder, item knowledge, picks of next items."""

from typing import Annotated, Any, Literal

from pydantic import Field

from eimf.config.base import HashedSettings
from eimf.types import Epochs, Layers, Scale, Seed, Share, SmallCount


class AdaptSettings(HashedSettings):
    """A text encoder adapted to behaviour (stage 1a)."""

    enabled: bool = False
    """Adapt the encoder to which items follow each other in training, before any text is encoded."""
    control: Literal["none", "shuffled", "cooccurrence"] = "none"
    """What takes the place of the meaning. shuffled: during the adaptation each item has the text of another one.
    cooccurrence: no text at all; an item's vector is its row of the factorized co-occurrence matrix, as wide as the
    encoder's, and an interest's the mean of the items that show it."""
    epochs: Epochs = 2
    """Times that every item is the anchor of a batch."""
    batch_items: Annotated[int, Field(ge=8, le=65_536)] = 256
    """Items of a batch, half of which are drawn as partners of the other half. All of them are contrasted."""
    reach: SmallCount = 3
    """Most places between two items of a history that count as following each other; at distance d they weigh 1/d."""
    held_out: Share = 0.02
    """Share of the pairs that are left out of the adaptation, to measure how many of them it finds."""
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Largest learning rate. It rises during the warm-up, then falls to 0, both in a straight line."""
    warmup: Share = 0.1
    """Share of the steps that are warm-up."""
    temperature: Scale = 0.05
    """Divides the cosines of the contrast."""
    layers: Layers = 3
    """How many of the encoder's last layers are trained: all if it has no more. Word embeddings never are."""
    max_tokens: Annotated[int, Field(ge=4, le=65_536)] = 32
    """Most tokens of a text during the adaptation; the rest is cut. `encoder.max_tokens` holds afterwards."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the products. auto: bfloat16 if it is native on this machine, else float32; the chosen one is part of the
    key."""
    seed: Seed = 2026
    """Seed of held-out pairs, batches, dropout and controls."""

    def configuration(self, precision: str) -> dict[str, Any]:
        """What determines the result, for a key: of a control without text few settings do."""
        if self.control == "cooccurrence":
            return {"control": self.control, "seed": self.seed}
        return {**self.model_dump(mode="json", exclude={"enabled"}), "precision": precision}


class ItemKnowledgeSettings(HashedSettings):
    """What an LLM knows about each item (stage 1b)."""

    enabled: bool = False
    """Ask the LLM about the items, and give their answers a vector beside that of the title."""


class PickSettings(HashedSettings):
    """Next items that the LLM picks out of real candidates (stage 7a)."""

    enabled: bool = False
    """Ask the LLM which of some items each typical user will want next."""
