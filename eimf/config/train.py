"""Settings of the training loop."""

from typing import Annotated, Any, Literal

from pydantic import Field

from eimf.config.base import HashedSettings
from eimf.types import Epochs, LargeCount, Seed, Size, Weight


class TrainSettings(HashedSettings):
    """The training loop."""

    seed: Seed = 2026
    """Seed of the weights, the order of the batches, and dropout."""
    lr: Annotated[float, Field(gt=0, le=1000)] = 1e-3
    """Learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Decoupled weight decay of AdamW; an item table with lazy updates has none (see `loss`)."""
    clip: Weight = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    warmup_epochs: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    """Epochs over which the learning rate rises to `lr`; may be a fraction."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls to 0 by the end of `epochs`. constant: not at all. Early stopping may come first."""
    loss: Literal["softmax", "sampled", "in-batch", "gbce", "bce"] = "softmax"
    """softmax: over all items. The others compare a target with a few items, for catalogues of a million; they update
    the item table lazily (except with heads.item_init=text_residual, which changes every row in every step). sampled:
    softmax over `negatives` sampled items, with logQ correction. in-batch: softmax over the targets of the step, also
    corrected. gbce: binary cross entropy against `negatives` uniformly sampled items, calibrated as in gSASRec. bce:
    the same without calibration."""
    negatives: Size = 1024
    """Items that `sampled`, `gbce` and `bce` sample per step, shared by all its target positions."""
    calibration: Annotated[float, Field(ge=0, le=1)] = 0.75
    """t of gbce: 0 is bce, 1 removes all overconfidence."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Data type of the factors in large matrix products, and of the backbone on a GPU. Sums and weights stay
    float32."""
    batch_positions: LargeCount = 2048
    """Input positions of one step: windows of similar length share a batch, as many as fit. Every position has a
    target, except those that `window_overlap` repeats and those that BERT4Rec does not mask."""
    window_overlap: Annotated[int, Field(ge=0, le=65_536)] = 0
    """A history longer than model.max_length is cut into windows; each repeats this many inputs of the one before it,
    so that its first targets have a history. The repeated inputs are computed again."""
    epochs: Epochs = 200
    """Most passes over the training events."""
    patience: Epochs = 20
    """Epochs without a better validation NDCG@10 after which the training stops."""

    def configuration(self) -> dict[str, Any]:
        """The part of a training's key: a setting that the loss does not read is None."""
        unread = {"negatives": self.loss in ("softmax", "in-batch"), "calibration": self.loss != "gbce"}
        return self.model_dump(mode="json") | {name: None for name, is_unread in unread.items() if is_unread}
