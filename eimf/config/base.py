"""What all settings share."""

from pydantic import BaseModel, ConfigDict

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""A name that can be part of a file name."""


class Settings(BaseModel):
    """A section of a recipe: frozen, and without unknown settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class HashedSettings(Settings):
    """Settings that change the result: they are part of a stage's key."""
