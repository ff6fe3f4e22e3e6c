"""Settings of the raw data: files, columns, and the text of an item."""

from typing import Annotated, Literal

from pydantic import Field

from eimf.config.base import NAME, HashedSettings
from eimf.types import Size


class ColumnSettings(HashedSettings):
    """Names of the columns in the raw files."""

    user: str = "user_id"
    """Column of the events with the user's id."""
    item: str = "item_id"
    """Column of the events with the item's id."""
    order: str = "order"
    """Column of the events that sorts a user's history: a time or a counter. Ties keep the order of the file."""
    timestamp: str | None = None
    """Column of the events with a time in seconds; only backbones that use timestamps need it."""
    item_key: str = "item_id"
    """Column of the item table with the item's id."""
    title: str = "title"
    """Column of the item table with the title: what the LLM reads."""


class DatasetSettings(HashedSettings):
    """The raw events and the item table."""

    name: str = Field(pattern=NAME)
    """Name of the dataset in results and error messages."""
    interactions: str
    """Events: a Parquet, CSV or TSV file, or `asset:NAME/FILE` for an embedded one. Relative to the recipe's folder."""
    items: str
    """Item table: the same kinds of file."""
    columns: ColumnSettings = ColumnSettings()
    """Names of the columns."""
    bad_rows: Literal["stop", "reject"] = "stop"
    """stop: a bad row is an error. reject: bad rows are left out, counted, and kept with their reason. Bad rows
    are events that are repeated, lack an id or a usable time, or have an unknown item, and rows of the item table that
    lack an id or repeat one (the first is kept)."""
    min_events: Annotated[int, Field(ge=3, le=65_536)] = 3
    """Fewest events of a user: leave-one-out needs one each for training, validation and test. Users with fewer are
    left out and counted, whatever `bad_rows` is."""


class TextSettings(HashedSettings):
    """How an item becomes one line of text (METHOD, stage one, 1)."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("title", "categories", "brand")
    """Columns of the item table, joined in this order; nulls are skipped."""
    max_chars: Size = 300
    """Most characters of the line; the rest is cut."""
    clean_html: bool = True
    """Turn HTML entities in titles and texts into characters and drop known tags; changed items are counted."""
