"""Every setting of one training."""

from dataclasses import dataclass

from eimf.config import HeadSettings, ModelSettings, RuntimeSettings, TrainSettings


@dataclass(frozen=True)
class TrainingJob:
    """What to train, and how: all that a training reads besides its arrays. `keep_seen` is that of its validation."""

    model: ModelSettings
    heads: HeadSettings
    train: TrainSettings
    keep_seen: bool
    runtime: RuntimeSettings
