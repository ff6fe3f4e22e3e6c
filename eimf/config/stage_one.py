"""Settings of stage one: data, texts, clusters, prompt, LLM."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from eimf.config.base import NAME, HashedSettings
from eimf.types import Epochs, Few, Many, Seed, Size


class ColumnSettings(HashedSettings):
    """Names of the raw columns."""

    user: str = "user_id"
    """Column of the events with the user's id."""
    item: str = "item_id"
    """Column of the events with the item's id."""
    order: str = "order"
    """Column of the events to sort a user's history by: a time or a counter. Ties keep the file's order."""
    timestamp: str | None = None
    """Column of the events with a time in seconds; only backbones that use times need it."""
    item_key: str = "item_id"
    """Column of the item table with the item's id."""
    title: str = "title"
    """Column of the item table with the title: what the LLM reads."""


class DatasetSettings(HashedSettings):
    """The raw events and the item table."""

    name: str = Field(pattern=NAME)
    """What results are filed under."""
    interactions: str
    """Events: a Parquet, CSV or TSV file, or `asset:NAME/FILE` for an embedded one. Relative to the recipe's folder."""
    items: str
    """Item table: the same kinds of file."""
    columns: ColumnSettings = ColumnSettings()
    """Names of the columns."""
    bad_rows: Literal["stop", "reject"] = "stop"
    """What to do with a broken row (an event that is repeated, has no id or no usable time, or is of an unknown item; a
    row of the item table that has no id or repeats one): stop with an error, or leave it out, counted and kept with
    its reason. Of rows with the same id the first is kept."""
    min_events: Annotated[int, Field(ge=3, le=65_536)] = 3
    """Fewest events of a user: leave-one-out needs one to train on, one to validate and one to test. Users with fewer
    are left out and counted, whatever `bad_rows` says."""


class TextSettings(HashedSettings):
    """How an item becomes one line of text (METHOD, stage one, 1)."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("title", "categories", "brand")
    """Columns of the item table, joined in this order where not null."""
    max_chars: Size = 300
    """Longest line; the rest is cut."""
    clean_html: bool = True
    """Turn HTML entities of titles and texts into characters and drop known tags; the items changed are counted."""


class EncoderSettings(HashedSettings):
    """The frozen text encoder of items and interests."""

    backend: Literal["vllm", "fake"] = "vllm"
    """vllm: vLLM's pooling runner. fake: hashed words, no model, for tests and dry runs."""
    model: str = "asset:all-minilm-l6-v2"
    """`asset:NAME`, a local directory, or a hub id."""
    revision: str | None = None
    """Commit of a hub id; without it, the newest one at the first use."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Number type of the weights at work. auto: as for the LLM. An encoder is small: float32 costs little, and gives
    the same keys on every machine."""
    max_tokens: Size = 256
    """Longest text; the rest is cut."""


class ClusterSettings(HashedSettings):
    """Spherical k-means over user vectors (METHOD, stage one, 3)."""

    count: Many | None = None
    """Number of clusters; without it, `share` of the users, at most `max_count`."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.04
    """Number of clusters as a share of the users (METHOD: 4 %, the published code's affinity propagation found 4.6
    %)."""
    max_count: Many = 4096
    """Most clusters that `share` can come to: the LLM is asked once for each. A `count` may be larger."""
    iterations: Epochs = 25
    """Most rounds of k-means; it stops when a round gains next to nothing. Many users get a few rounds at full size."""
    seed: Seed = 2026
    """Seed of the first centroids."""


class TypicalSettings(HashedSettings):
    """Which real users stand for a cluster (METHOD, stage one, 4)."""

    min_history: Size = 3
    """Fewest training events of a typical user; in a cluster without such a user the nearest one is taken."""


class PromptSettings(HashedSettings):
    """What the LLM is asked (METHOD, stage one, 5)."""

    template: str = "products"
    """`products`, `movies`, or the path of a TOML file like those."""
    max_titles: Annotated[int, Field(ge=1, le=1000)] = 15
    """Most recent training titles shown."""
    title_chars: Size = 80
    """Longest title shown; the rest is cut."""


class LLMSettings(HashedSettings):
    """The generator of interests."""

    backend: Literal["vllm", "replay", "fake"] = "vllm"
    """vllm: the engine. replay: only replies that the store already holds. fake: deterministic, no model, for
    tests and dry runs."""
    model: str = "asset:smollm2-135m-instruct"
    """`asset:NAME`, a local directory, or a hub id."""
    revision: str | None = None
    """Commit of a hub id; without it, the newest one at the first use."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of the weights at work. auto: what the machine multiplies fastest, bfloat16 on a GPU (float16 on one
    before compute capability 8.0) and on a CPU with instructions for it, float32 elsewhere. The chosen type is part
    of the keys: a recipe that fixes it has the same keys on every machine."""
    temperature: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Sampling temperature; 0 takes the likeliest token, and then a retry would only repeat itself."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Nucleus of the sampling."""
    seed: Seed = 2026
    """Seed of the sampling; each request and attempt draws from its own stream."""
    max_tokens: Size = 240
    """Longest reply."""
    max_prompt_tokens: Many = 1800
    """Longest rendered prompt, in tokens; a longer one stops the run before anything is asked. In no key."""
    min_interests: Few = 2
    """Fewest interests in a reply."""
    max_interests: Few = 4
    """Most interests in a reply: M of METHOD."""
    interest_chars: Annotated[int, Field(ge=3, le=1000)] = 60
    """Longest interest."""
    retries: Annotated[int, Field(ge=0, le=100)] = 2
    """Further attempts at a request whose reply was malformed."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_interests > self.max_interests:
            raise ValueError(
                f"min_interests={self.min_interests} is above max_interests={self.max_interests}; lower it"
            )
        return self
