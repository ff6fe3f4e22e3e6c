"""Every setting, declared once. `HashedSettings` change a result: they are part of a stage's key. `RuntimeSettings`
change how fast, and nothing that another seed would not: they are part of none."""

from eimf.config.base import HashedSettings, RuntimeSettings
from eimf.config.stage_one import (
    ClusterSettings,
    ColumnSettings,
    DatasetSettings,
    EncoderSettings,
    LLMSettings,
    PromptSettings,
    TextSettings,
    TypicalSettings,
)
from eimf.config.stage_two import PRESETS, EvaluateSettings, HeadSettings, ModelSettings, TrainSettings

__all__ = [
    "PRESETS",
    "HashedSettings",
    "ClusterSettings",
    "ColumnSettings",
    "DatasetSettings",
    "EncoderSettings",
    "EvaluateSettings",
    "HeadSettings",
    "LLMSettings",
    "ModelSettings",
    "PromptSettings",
    "RuntimeSettings",
    "TextSettings",
    "TrainSettings",
    "TypicalSettings",
]
