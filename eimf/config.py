"""Every setting, declared once. `Answer` settings change a result and are part of a stage's key; `Speed` settings
change only how fast (and the last bits of float rounding) and are part of none."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, le=0.99)]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Answer(_Frozen):
    """A group of settings that change the answer: all of it goes into a stage key."""


class Speed(_Frozen):
    """Settings that change only the speed. Never in a key."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where stage two runs. auto: a GPU where torch sees one."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of torch and FAISS. 0: their own choice."""
    encode_batch: Positive = 256
    """Texts that the encoder works on at a time."""
    chunk: Positive = 32
    """Finished replies written to the store at a time; a kill loses these and what is being decoded."""
    in_flight: Positive = 64
    """LLM requests that are decoded together."""
    kv_cache_gb: Annotated[float, Field(gt=0)] = 2.0
    """Memory of vLLM's key-value cache on a CPU machine, GiB."""
    gpu_memory: Annotated[float, Field(gt=0, le=1)] = 0.85
    """Share of the GPU's memory that vLLM may take."""
    tensor_parallel: Positive = 1
    """GPUs that one LLM is spread over."""
    loss_rows: Positive = 256
    """Rows of one block of the full softmax: its logits must fit in the cache."""
    rank_users: Positive = 256
    """Most users ranked in one block; fewer where the catalogue is large."""
    compile: bool = False
    """Compile the backbone (torch.compile; needs a C++ compiler on a CPU): pays on a GPU, takes a minute."""
    deterministic: bool = False
    """Make a GPU repeat itself bit for bit, at some cost; a CPU with a given number of threads always does."""
    save_seconds: Annotated[float, Field(ge=0)] = 60.0
    """A training saves its state after every epoch, and this often within one: a kill loses at most so much."""


class ColumnSettings(Answer):
    """Names of the raw columns."""

    user: str = "user_id"
    """Column of the events with the user's id."""
    item: str = "item_id"
    """Column of the events with the item's id."""
    order: str = "order"
    """Column of the events to sort a user's history by: a time or a counter. Ties keep the file's order."""
    timestamp: str | None = None
    """Column of the events with a time in seconds; carried along, not needed."""
    item_key: str = "item_id"
    """Column of the item table with the item's id."""
    title: str = "title"
    """Column of the item table with the title: what the LLM reads."""


class DatasetSettings(Answer):
    """The raw events and the item table."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """What results are filed under."""
    interactions: str
    """Events: a Parquet, CSV or TSV file, or `asset:NAME/FILE` for an embedded one. Relative to the recipe's folder."""
    items: str
    """Item table: the same kinds of file."""
    columns: ColumnSettings = ColumnSettings()
    """Names of the columns."""
    bad_rows: Literal["stop", "reject"] = "stop"
    """What to do with a repeated event, an event without an id, of an unknown item, or of a user with fewer than
    `min_events`: stop with an error, or leave it out, counted and kept with its reason."""
    min_events: Annotated[int, Field(ge=3)] = 3
    """Fewest events of a user: leave-one-out needs one to train on, one to validate and one to test."""


class TextSettings(Answer):
    """How an item becomes one line of text (METHOD, stage one, 1)."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("title", "categories", "brand")
    """Columns of the item table, joined in this order where not null."""
    max_chars: Positive = 300
    """Longest line; the rest is cut."""


class EncoderSettings(Answer):
    """The frozen text encoder of items and interests."""

    backend: Literal["vllm", "fake"] = "vllm"
    """vllm: vLLM's pooling runner. fake: hashed words, no model, for tests and dry runs."""
    model: str = "asset:all-minilm-l6-v2"
    """`asset:NAME`, a local directory, or a hub id."""
    revision: str | None = None
    """Commit of a hub id; without it, the newest one at the first use."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number type of the weights at work."""
    max_tokens: Positive = 256
    """Longest text; the rest is cut."""


class ClusterSettings(Answer):
    """Spherical k-means over user vectors (METHOD, stage one, 3)."""

    count: Positive | None = None
    """Number of clusters; without it, `share` of the users."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.04
    """Number of clusters as a share of the users (METHOD: 4 %, the published code's affinity propagation found 4.6
    %)."""
    iterations: Positive = 25
    """Rounds of k-means."""
    seed: Seed = 2026
    """Seed of the first centroids."""


class TypicalSettings(Answer):
    """Which real users stand for a cluster (METHOD, stage one, 4)."""

    min_history: Positive = 3
    """Fewest training events of a typical user; in a cluster without such a user the nearest one is taken."""


class PromptSettings(Answer):
    """What the LLM is asked (METHOD, stage one, 5)."""

    template: str = "movies"
    """`movies`, `products`, or the path of a TOML file like those."""
    max_titles: Positive = 15
    """Most recent training titles shown."""
    title_chars: Positive = 80
    """Longest title shown; the rest is cut."""


class LLMSettings(Answer):
    """The generator of interests."""

    backend: Literal["vllm", "replay", "fake"] = "vllm"
    """vllm: the engine. replay: only replies that the store already holds. fake: deterministic, no model, for
    tests and dry runs."""
    model: str = "asset:smollm2-135m-instruct"
    """`asset:NAME`, a local directory, or a hub id."""
    revision: str | None = None
    """Commit of a hub id; without it, the newest one at the first use."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Number type of the weights at work."""
    temperature: Annotated[float, Field(ge=0)] = 0.8
    """Sampling temperature; 0 takes the likeliest token, and then a retry would only repeat itself."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Nucleus of the sampling."""
    seed: Seed = 2026
    """Seed of the sampling; each request and attempt draws from its own stream."""
    max_tokens: Positive = 240
    """Longest reply."""
    max_prompt_tokens: Positive = 1800
    """Longest rendered prompt, in tokens; a longer one stops the run before anything is asked. In no key."""
    min_interests: Positive = 2
    """Fewest interests in a reply."""
    max_interests: Positive = 4
    """Most interests in a reply: M of METHOD."""
    interest_chars: Annotated[int, Field(ge=3)] = 60
    """Longest interest."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Further attempts at a request whose reply was malformed."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_interests > self.max_interests:
            raise ValueError(
                f"min_interests={self.min_interests} is above max_interests={self.max_interests}; lower it"
            )
        return self


class ModelSettings(Answer):
    """The backbone."""

    backbone: str = "sasrec"
    """Which one; `eimf backbones` lists them."""
    width: Positive = 64
    """D: width of items and interests."""
    max_length: Positive = 50
    """T: most recent events that the backbone sees."""
    dropout: Share = 0.5
    """Dropout wherever the backbone has one."""
    options: dict[str, dict[str, bool | int | float | str]] = {}
    """A backbone's own settings by its name, such as {sasrec = {layers = 3}}; `eimf backbones` lists them. Only those
    of the chosen backbone count."""


class HeadSettings(Answer):
    """What stage two takes from the ESIM artifact (METHOD, stage two). `preset` sets all the others; any of them may
    be set beside it."""

    preset: Literal["plain", "init", "text", "paper", "modern"] = "modern"
    """plain: nothing, the backbone alone. init: the item table starts from the items' texts. text: the best treatment
    of the items' texts, nothing of the LLM. paper: the published method. modern: ours, `text` with the LLM's
    interests."""
    control: Literal["true", "shuffled", "random", "cluster", "titles"] = "true"
    """What stands for the LLM's interests. true: they do. Controls: those of another cluster; noise; a code of the
    cluster; the mean title of the cluster's typical user."""
    table: Literal["free", "start", "compose"] = "free"
    """The item table. free: of item ids alone. start: it starts from the text. compose: a free vector and a learned map
    of the text, folded together in the end."""
    text_features: Positive = 128
    """Principal components of the text that the table sees."""
    text_scale: Annotated[float, Field(gt=0)] = 0.5
    """Root mean square norm of an item's text part at the start; a free vector starts with .02 sqrt(D)."""
    align_items: Annotated[float, Field(ge=0)] = 0.0
    """Weight of modality alignment between items and their texts: a half of L_align."""
    align_users: Annotated[float, Field(ge=0)] = 0.0
    """Weight of modality alignment between users and the LLM's interests: the other half."""
    semantic: Annotated[float, Field(ge=0)] = 0.0
    """Weight of semantic prediction, L_sem."""
    smooth_text: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a target's mass that goes to the items whose texts are nearest to its own."""
    smooth_interests: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a target's mass that goes to the items nearest to an interest of the user's cluster: the one nearest to
    the target."""
    neighbours: Positive = 20
    """Items that take part in each of these shares."""
    smooth_temperature: Annotated[float, Field(gt=0)] = 0.1
    """How evenly: softmax of the cosine by this."""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """tau of the alignment's contrastive part."""
    contrast_items: Annotated[int, Field(ge=2)] = 128
    """Items contrasted with each other in the alignment of items: the published code's batch, whatever ours is."""
    positions: Positive = 128
    """Target positions of a step that alignment and semantic prediction look at, drawn anew each step: all of them in
    expectation, at a fraction of the cost. By default as many as the published code's batch."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {**PRESETS.get(values.get("preset", "modern"), {}), **values}

    @property
    def plain(self) -> bool:
        """True where nothing of the artifact enters the training."""
        return self.table == "free" and self.align_items == 0 and self.smooth_text == 0 and not self.asks_llm

    @property
    def asks_llm(self) -> bool:
        """True where the LLM's interests, or a control in their place, enter the training."""
        return max(self.align_users, self.semantic, self.smooth_interests) > 0

    def configuration(self) -> dict[str, Any] | None:
        """What belongs into a key: not how the settings came about, and no control of what is not used."""
        kept = self.model_dump(mode="json", exclude={"preset"} if self.asks_llm else {"preset", "control"})
        return None if self.plain else kept


_TEXT = {"table": "compose", "align_items": 0.1, "smooth_text": 0.2}
PRESETS: dict[str, dict[str, Any]] = {
    "plain": {},
    "init": {"table": "start"},
    "text": _TEXT,
    "paper": {"align_items": 0.1, "align_users": 0.1, "semantic": 0.1},
    "modern": {**_TEXT, "align_users": 0.1},
}
"""What each preset of `HeadSettings` sets."""


class TrainSettings(Answer):
    """The training loop."""

    seed: Seed = 2026
    """Seed of the weights, the order of the batches, and dropout."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of AdamW; the item table has none where its updates are lazy (see `loss`)."""
    clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    """Epochs over which the learning rate rises to `lr`; may be a fraction."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls to 0 toward `epochs`, if at all. Early stopping may come first."""
    loss: Literal["softmax", "sampled", "in-batch", "gbce", "bce"] = "softmax"
    """softmax: over the whole catalogue. The others compare a target with few items, and update the item table lazily,
    for catalogues of a million items and more. sampled: softmax over `negatives` drawn items, with logQ correction.
    in-batch: over the targets of the step, corrected too. gbce: binary cross entropy with `negatives` items drawn
    evenly and the target's probability calibrated (gSASRec). bce: the same without calibration."""
    negatives: Positive = 1024
    """Items drawn for a step, shared by its target positions; by `sampled`, `gbce` and `bce`."""
    calibration: Annotated[float, Field(ge=0, le=1)] = 0.75
    """t of gbce: 0 is bce, 1 takes all overconfidence out."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number type of the large products' factors (and of the backbone's on a GPU); sums and weights stay float32."""
    batch_positions: Positive = 2048
    """Input positions of one step: windows of like length share a batch, as many as fit. Each position is a target."""
    context: Annotated[int, Field(ge=0)] = 0
    """Where a history longer than model.max_length is cut, inputs that the next piece repeats, so that its first
    targets have a past; costs their recomputation."""
    epochs: Positive = 200
    """Most passes over the training events."""
    filter_seen: bool = True
    """Leave out of the validation ranking what the user has seen; `evaluate.filter_seen` is that of the test."""
    patience: Positive = 20
    """Epochs without a better validation NDCG@10 before the training stops."""


class EvaluateSettings(Answer):
    """What is measured."""

    cutoffs: Annotated[tuple[Positive, ...], Field(min_length=1)] = (5, 10, 20, 50)
    """k of Recall, NDCG, HitRate and MRR."""
    filter_seen: bool = True
    """Leave out of the ranking what the user has seen before the target."""
