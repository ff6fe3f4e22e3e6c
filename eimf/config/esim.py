"""Settings of stage one: encoder, clusters, prompt, LLM."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from eimf.config.base import HashedSettings
from eimf.types import Epochs, LargeCount, Seed, Size, SmallCount

BUILT_IN_LLM = "asset:smollm2-135m-instruct"


class EncoderSettings(HashedSettings):
    """The frozen text encoder of items and interests."""

    backend: Literal["vllm", "fake"] = "vllm"
    """vllm: vLLM's pooling runner. fake: hashed words, no model, for tests and dry runs."""
    model: str = "asset:all-minilm-l6-v2"
    """`asset:NAME`, a local directory, or a hub id."""
    revision: str | None = None
    """Commit of a hub id. Unset: the newest one at the first use."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Data type of the weights. auto: as for the LLM. An encoder is small, so float32 costs little and gives the same
    keys on every machine."""
    max_tokens: Size = 256
    """Most tokens of a text; the rest is cut."""
    lexical: Annotated[int, Field(ge=0, le=4096)] = 0
    """Width of a second vector of each item: which words its text shares with others (tf-idf and a singular value
    decomposition). 0: none. `heads.texts.use` says whether a training reads it."""


class ClusterSettings(HashedSettings):
    """Clusters of the user vectors, and their typical users (METHOD, stage one, 3 and 4)."""

    method: Literal["kmeans", "affinity-propagation"] = "kmeans"
    """kmeans: spherical k-means. affinity-propagation: as published, for at most ten thousand users: it finds the
    number of clusters itself."""
    count: LargeCount | None = None
    """Number of clusters. Unset: `share` of the users, at most `max_count`."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.04
    """Number of clusters as a share of the users. METHOD: 4 %; the published code's affinity propagation gave 4.6 %."""
    max_count: LargeCount = 4096
    """Most clusters if `count` is unset: the LLM is asked once for each. `count` itself may be larger."""
    iterations: Epochs = 25
    """Most rounds of k-means, which stops early if a round gains next to nothing. With many users only the last rounds
    see all of them."""
    seed: Seed = 2026
    """Seed of the first centroids."""
    typical: Literal["nearest", "dense", "cover-items", "cover-events"] = "nearest"
    """Who stands for a cluster. nearest: who is most similar to its centroid. dense: who has the nearest neighbours.
    cover-items, cover-events: users whose prompts together show the most items, or those of the most training events.
    Like the next two, part of the typical users' key, not of the clusters'."""
    typical_per_cluster: Annotated[int, Field(ge=1, le=64)] = 1
    """Most typical users of a cluster, each of whom the LLM is asked about. The cluster has the interests of all."""
    min_typical_history: Size = 3
    """Fewest training events of a typical user. A cluster without such a user takes of the others."""

    @model_validator(mode="after")
    def _counts_what_it_chooses(self) -> Self:
        if self.method == "affinity-propagation" and self.count is not None:
            raise ValueError(f"count={self.count}, but affinity-propagation finds the number itself; leave count out")
        return self


class PromptSettings(HashedSettings):
    """What the LLM is asked (METHOD, stage one, 5)."""

    template: str = "products"
    """`products`, `movies`, or the path of a TOML file like those."""
    max_titles: Annotated[int, Field(ge=1, le=1000)] = 15
    """Most recent training titles shown."""
    title_chars: Size = 80
    """Most characters of a title; the rest is cut."""
    vocabulary: Literal["auto", "closed", "free"] = "auto"
    """closed: the LLM chooses its interests from phrases that the titles' categories, genres, brands, decades and
    frequent words make up, and each comes with the titles that carry it, so the evidence is true whatever the LLM is.
    free: it writes them, and names the titles itself. auto: closed for the built-in LLM, which is too small to write
    phrases that fit, and free for any other. A user whose titles have nothing in common with others is asked freely."""

    def is_closed(self, llm: "LLMSettings") -> bool:
        """What `vocabulary` means for this LLM."""
        return self.vocabulary == "closed" or (self.vocabulary == "auto" and llm.model == BUILT_IN_LLM)


class LLMSettings(HashedSettings):
    """The generator of interests."""

    backend: Literal["vllm", "replay", "fake"] = "vllm"
    """vllm: the engine. replay: only replies that the store already has. fake: deterministic, no model, for tests and
    dry runs."""
    model: str = BUILT_IN_LLM
    """`asset:NAME`, a local directory, or a hub id."""
    revision: str | None = None
    """Commit of a hub id. Unset: the newest one at the first use."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of the weights. auto: the machine's fastest, which is bfloat16 on a GPU (float16 below compute
    capability 8.0) and on a CPU with instructions for it, and float32 elsewhere. The chosen type is part of the keys:
    set it to have the same keys on every machine."""
    temperature: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Sampling temperature. 0 always takes the most probable token, so a retry would repeat itself."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Nucleus sampling: the smallest set of tokens with this probability."""
    seed: Seed = 2026
    """Seed of the sampling; each attempt at a request has a random stream of its own."""
    max_tokens: Size = 240
    """Most tokens of a reply."""
    max_prompt_tokens: LargeCount = 1800
    """Most tokens of a rendered prompt; a longer one stops the run before the LLM is asked. In no key."""
    min_interests: SmallCount = 2
    """Fewest interests in a reply."""
    max_interests: SmallCount = 4
    """Most interests in a reply: M of METHOD."""
    interest_chars: Annotated[int, Field(ge=3, le=1000)] = 60
    """Most characters of an interest."""
    retries: Annotated[int, Field(ge=0, le=100)] = 2
    """Further attempts after a malformed reply."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_interests > self.max_interests:
            raise ValueError(
                f"min_interests={self.min_interests} is above max_interests={self.max_interests}; lower it"
            )
        return self
