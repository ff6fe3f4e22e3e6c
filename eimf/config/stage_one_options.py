"""Settings of stages that are off by default: an adapted encoder, item knowledge, picks of next items."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from eimf.config.base import HashedSettings
from eimf.types import Epochs, LargeCount, Layers, Scale, Seed, Share, Size, SmallCount

ASK_LLM = "llm"
"""The value of `item_knowledge.source` that asks the LLM of the recipe."""


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
    """Find out what is known about the items, and give it a vector beside that of the item's text."""
    source: str = ASK_LLM
    """llm: ask the LLM of this recipe. Anything else is the path of a file with the columns `item_id` and `knowledge`
    (JSON lines, Parquet or CSV), which holds what another LLM, or anybody else, has written."""
    author: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Whose words the file of `source` holds, such as "a frontier-size LLM, 2026-11". Required with a file, so that
    no result is taken for that of another LLM."""
    template: str = "products"
    """What the LLM is asked: `products`, `movies`, or the path of a TOML file like those. A file needs none."""
    max_words: Annotated[int, Field(ge=3, le=500)] = 20
    """Most words that are asked for; the LLM's further ones are cut."""
    max_tokens: Size = 100
    """Most tokens of a reply of the LLM."""
    max_events: LargeCount | None = None
    """Only items with at most so many training events: the others are known by their users. Unset: all items."""
    control: Literal["none", "shuffled"] = "none"
    """shuffled: every item gets the knowledge of another one. If that helps as much, it is not the meaning."""

    @property
    def asks_llm(self) -> bool:
        """True if the LLM of the recipe is asked, False if a file has the knowledge."""
        return self.source == ASK_LLM

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.asks_llm and self.author is None:
            raise ValueError(
                f"source={self.source!r} is a file, and author is not set; say whose words it holds, "
                'such as author="a frontier-size LLM, 2026-11"'
            )
        if self.asks_llm and self.author is not None:
            raise ValueError(f"author={self.author!r}, but the LLM of the recipe is asked; name it for a file only")
        return self


class PickSettings(HashedSettings):
    """Next items that the LLM picks out of real candidates (stage 7a)."""

    enabled: bool = False
    """Ask the LLM which of some items each typical user will want next."""
    candidates: Annotated[int, Field(ge=2, le=100)] = 20
    """Most items offered: those that co-occur most with what the cluster's users had in training."""
    picks: Annotated[int, Field(ge=1, le=99)] = 5
    """How many of them the LLM picks. A cluster with no more candidates than that is not asked about."""
    template: str = "products"
    """`products`, or the path of a TOML file like that one. It shows as many titles as `prompt.max_titles`."""
    seed: Seed = 2026
    """Seed of the order in which the candidates are shown."""

    @model_validator(mode="after")
    def _leaves_a_choice(self) -> Self:
        if self.picks >= self.candidates:
            raise ValueError(f"picks={self.picks} of candidates={self.candidates} is no choice; lower picks")
        return self
