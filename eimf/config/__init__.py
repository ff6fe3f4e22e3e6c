"""Every setting, declared once. `HashedSettings` change a result and are part of a stage's key; `RuntimeSettings`
change the speed and are part of none."""

from eimf.config.base import HashedSettings
from eimf.config.calibrate import CalibrateSettings
from eimf.config.data import (
    CleaningSettings,
    ColumnSettings,
    DatasetSettings,
    SplitSettings,
    TableSettings,
    TextSettings,
)
from eimf.config.esim import ClusterSettings, EncoderSettings, LLMSettings, PromptSettings
from eimf.config.evaluate import EvaluateSettings
from eimf.config.extend import ExtendSettings
from eimf.config.heads import PRESETS, AlignmentSettings, ComparisonSettings, HeadSettings, SmoothingSettings
from eimf.config.model import ModelSettings
from eimf.config.runtime import RuntimeSettings
from eimf.config.stage_one_options import AdaptSettings, ItemKnowledgeSettings, PickSettings
from eimf.config.train import TrainSettings

__all__ = [
    "PRESETS",
    "AdaptSettings",
    "AlignmentSettings",
    "CalibrateSettings",
    "CleaningSettings",
    "ClusterSettings",
    "ColumnSettings",
    "ComparisonSettings",
    "DatasetSettings",
    "EncoderSettings",
    "EvaluateSettings",
    "ExtendSettings",
    "HashedSettings",
    "HeadSettings",
    "ItemKnowledgeSettings",
    "LLMSettings",
    "ModelSettings",
    "PickSettings",
    "PromptSettings",
    "RuntimeSettings",
    "SmoothingSettings",
    "SplitSettings",
    "TableSettings",
    "TextSettings",
    "TrainSettings",
]
