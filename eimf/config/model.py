"""Settings of the backbone."""

from typing import Annotated, Any

from pydantic import Field

from eimf.config.base import HashedSettings
from eimf.types import Share, Size


class ModelSettings(HashedSettings):
    """The backbone."""

    backbone: str = "sasrec"
    """Its name; `eimf backbones` lists them."""
    width: Annotated[int, Field(ge=1, le=8192)] = 64
    """D: width of items and interests."""
    max_length: Size = 50
    """T: how many of the most recent events the backbone sees."""
    dropout: Share | None = None
    """Dropout rate. Unset: the backbone's default, which `eimf backbones` lists; it suits histories of about ten
    events, while .2 did better for histories of a hundred."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options by backbone, such as {sasrec = {layers = 3}}; `eimf backbones` lists them. Only those of the chosen
    backbone count."""
