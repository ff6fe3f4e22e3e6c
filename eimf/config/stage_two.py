"""Settings of stage two: backbone, heads, training, evaluation."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from eimf.config.base import HashedSettings
from eimf.types import Epochs, Many, Scale, Seed, Share, Size, Weight

Width = Annotated[int, Field(ge=1, le=8192)]
"""Of vectors."""


class ModelSettings(HashedSettings):
    """The backbone."""

    backbone: str = "sasrec"
    """Which one; `eimf backbones` lists them."""
    width: Width = 64
    """D: width of items and interests."""
    max_length: Size = 50
    """T: most recent events that the backbone sees."""
    dropout: Share | None = None
    """Dropout wherever the backbone has one; None: the backbone's own, which `eimf backbones` tells. It suits histories
    of some ten events; for those of a hundred .2 did better."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """A backbone's own settings by its name, such as {sasrec = {layers = 3}}; `eimf backbones` lists them. Only those
    of the chosen backbone count."""


def _true(value: Any) -> Any:
    """`true` is the name of a control, and written without quotes a boolean."""
    return "true" if value is True else value


class HeadSettings(HashedSettings):
    """What stage two takes from the ESIM artifact (METHOD, stage two). `preset` sets all the others; any of them may
    be set beside it."""

    preset: Literal["plain", "init", "text", "paper", "modern"] = "modern"
    """plain: nothing, the backbone alone. init: the item table starts from the items' texts. text: the best treatment
    of the items' texts, nothing of the LLM. paper: the published method. modern: ours, `text` with soft targets from
    the LLM's interests, where these pass the `gate`."""
    control: Annotated[Literal["true", "shuffled", "random", "cluster", "titles"], BeforeValidator(_true)] = "true"
    """What stands for the LLM's interests. true: they do. Controls: those of another cluster; noise; a code of the
    cluster; the mean title of the cluster's typical user."""
    table: Literal["free", "start", "compose"] = "free"
    """The item table. free: of item ids alone. start: it starts from the text. compose: a free vector and a learned map
    of the text, folded together in the end."""
    text_features: Width = 128
    """Principal components of the text that the table sees."""
    text_scale: Scale = 0.3
    """Root mean square norm of an item's text part at the start, where texts differ in `text_features` directions or
    more (in r < F of them, sqrt(r / F) of it); a free vector starts with .02 sqrt(D)."""
    align_items: Weight = 0.0
    """Weight of modality alignment between items and their texts: a half of L_align."""
    align_users: Weight = 0.0
    """Weight of modality alignment between users and the LLM's interests: the other half."""
    semantic: Weight = 0.0
    """Weight of semantic prediction, L_sem."""
    smooth_text: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest share of a target's mass that goes to the items whose texts are nearest to its own."""
    smooth_history: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest share of a target's mass that goes to the items nearest to the mean text of the user's training items."""
    smooth_interests: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest share of a target's mass that goes to the items nearest to an interest of the user's cluster: the one
    nearest to the target."""
    smooth_fade: Weight = 0.0
    """How fast these shares fall with the training events n of the target (`smooth_text`, `smooth_interests`) or of the
    user (`smooth_history`): by 1 / (1 + smooth_fade n). What has been seen often needs no neighbours."""
    gate: bool = True
    """Take `smooth_interests` as 0 where the probe finds no more of the users' next items in the interests than in the
    users' own texts. It looks at validation items, as early stopping does."""
    neighbours: Annotated[int, Field(ge=1, le=1000)] = 20
    """Items that take part in each of these shares, for each target."""
    smooth_temperature: Scale = 0.1
    """How evenly: softmax of the cosine by this."""
    temperature: Scale = 0.1
    """tau of the alignment's contrastive part."""
    contrast_items: Annotated[int, Field(ge=2, le=65_536)] = 128
    """Items contrasted with each other in the alignment of items: the published code's batch, whatever ours is."""
    positions: Size = 128
    """Target positions of a step that alignment and semantic prediction look at, drawn anew each step: all of them in
    expectation, at a fraction of the cost. By default as many as the published code's batch."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        preset = values.get("preset", "modern") if isinstance(values, dict) else None
        return {**PRESETS.get(preset, {}), **values} if isinstance(preset, str) else values  # else: refused by its type

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.smoothed >= 1:
            raise ValueError(
                f"smooth_text, smooth_history and smooth_interests add up to {self.smoothed:g}; lower one: below 1"
            )
        return self

    @property
    def smoothed(self) -> float:
        """Largest share of a target's mass that is not its own."""
        return self.smooth_text + self.smooth_history + self.smooth_interests

    @property
    def plain(self) -> bool:
        """True where nothing of the artifact enters the training."""
        return self.table == "free" and self.align_items == 0 and not self.smoothed and not self.asks_llm

    @property
    def asks_llm(self) -> bool:
        """True where the LLM's interests, or a control in their place, enter the training."""
        return max(self.align_users, self.semantic, self.smooth_interests) > 0

    @property
    def source(self) -> Literal["item_vectors", "esim"] | None:
        """Kind of the artifact that the training reads beside the dataset: the items' texts alone, or the LLM's
        interests too. A training is keyed by that artifact, so another prompt or LLM leaves those of texts alone."""
        if self.plain:
            return None
        return "esim" if self.asks_llm else "item_vectors"

    @property
    def reads(self) -> tuple[str, ...]:
        """Kinds of the artifacts that the training reads."""
        return ("dataset", self.source) if self.source else ("dataset",)

    @property
    def gated(self) -> bool:
        """True where the probe is to be asked whether the interests enter."""
        return self.gate and self.smooth_interests > 0

    def without_interests(self) -> Self:
        """What is trained where the interests do not pass the gate."""
        return self.model_copy(update={"smooth_interests": 0.0})

    def configuration(self) -> dict[str, Any] | None:
        """What belongs into a key: not how the settings came about, and none that nothing reads."""
        return None if self.plain else self.model_dump(mode="json", exclude={"preset", "gate"} | self._unread())

    def _unread(self) -> set[str]:
        align = max(self.align_items, self.align_users) > 0
        read = {
            "control": self.asks_llm,
            "text_features": self.table == "compose",
            "text_scale": self.table != "free",
            "neighbours": self.smoothed > 0,
            "smooth_fade": self.smoothed > 0 and self.smooth_fade > 0,
            "smooth_temperature": self.smoothed > 0,
            "temperature": align,
            "contrast_items": self.align_items > 0,
            "positions": align or self.semantic > 0,
        }
        return {name for name, is_read in read.items() if not is_read}


_TEXT = {"table": "compose", "smooth_text": 0.4, "smooth_history": 0.2, "smooth_fade": 0.05}
PRESETS: dict[str, dict[str, Any]] = {
    "plain": {},
    "init": {"table": "start"},
    "text": _TEXT,
    "paper": {"align_items": 0.1, "align_users": 0.1, "semantic": 0.1},
    "modern": {**_TEXT, "smooth_interests": 0.1},
}
"""What each preset of `HeadSettings` sets."""


class TrainSettings(HashedSettings):
    """The training loop."""

    seed: Seed = 2026
    """Seed of the weights, the order of the batches, and dropout."""
    lr: Annotated[float, Field(gt=0, le=1000)] = 1e-3
    """Learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Decoupled weight decay of AdamW; the item table has none where its updates are lazy (see `loss`)."""
    clip: Weight = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    warmup_epochs: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    """Epochs over which the learning rate rises to `lr`; may be a fraction."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls to 0 toward `epochs`, if at all. Early stopping may come first."""
    loss: Literal["softmax", "sampled", "in-batch", "gbce", "bce"] = "softmax"
    """softmax: over the whole catalogue. The others compare a target with few items, for catalogues of a million items
    and more, and update a free item table lazily (one composed with text has no row at rest). sampled: softmax over
    `negatives` drawn items, with logQ correction. in-batch: over the targets of the step, corrected too. gbce: binary
    cross entropy with `negatives` items drawn evenly and the target's probability calibrated (gSASRec). bce: the same
    without calibration."""
    negatives: Size = 1024
    """Items drawn for a step, shared by its target positions; by `sampled`, `gbce` and `bce`."""
    calibration: Annotated[float, Field(ge=0, le=1)] = 0.75
    """t of gbce: 0 is bce, 1 takes all overconfidence out."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number type of the large products' factors (and of the backbone's on a GPU); sums and weights stay float32."""
    batch_positions: Many = 2048
    """Input positions of one step: windows of like length share a batch, as many as fit. Each position is a target, but
    for those that `context` repeats and those that BERT4Rec shows."""
    context: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Where a history longer than model.max_length is cut, inputs that the next piece repeats, so that its first
    targets have a past; costs their recomputation."""
    epochs: Epochs = 200
    """Most passes over the training events."""
    patience: Epochs = 20
    """Epochs without a better validation NDCG@10 before the training stops."""

    def configuration(self) -> dict[str, Any]:
        """What belongs into a key: a setting that this loss does not read stands at its default."""
        read = {"negatives": self.loss in ("sampled", "gbce", "bce"), "calibration": self.loss == "gbce"}
        unread = {name: type(self).model_fields[name].default for name, is_read in read.items() if not is_read}
        return self.model_copy(update=unread).model_dump(mode="json")


class EvaluateSettings(HashedSettings):
    """What is measured."""

    cutoffs: Annotated[tuple[Annotated[int, Field(ge=1, le=10_000)], ...], Field(min_length=1, max_length=100)] = (
        5,
        10,
        20,
        50,
    )
    """k of Recall, NDCG, HitRate and MRR."""
    keep_seen: bool = False
    """Recommend items that the user had before too: in the validation that stops a training, in the test, and in
    serving alike. Without it such items are left out everywhere, and a target that is one of them is a miss."""
