"""Every setting, declared once. `Answer` settings change a result and are part of a stage's key; `Speed` settings
change how fast, and nothing that another seed would not, and are part of none."""

from eimf.config.base import Answer, Speed
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
    "Answer",
    "ClusterSettings",
    "ColumnSettings",
    "DatasetSettings",
    "EncoderSettings",
    "EvaluateSettings",
    "HeadSettings",
    "LLMSettings",
    "ModelSettings",
    "PromptSettings",
    "Speed",
    "TextSettings",
    "TrainSettings",
    "TypicalSettings",
]
