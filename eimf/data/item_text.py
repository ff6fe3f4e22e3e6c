"""The line of text of each item: clean columns, joined or written by a template, cut, with a fallback."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from eimf import schema
from eimf.config import TextSettings
from eimf.data.characters import clean_characters
from eimf.data.html import clean_html
from eimf.data.text_template import line_of, parse_template

SEPARATOR = " | "
"""Between the columns of the metadata, and of the text without a template."""
_UNTITLED = "untitled item"


@dataclass(frozen=True)
class ItemTexts:
    """`items` with the columns `title` (null if missing), `metadata` (the text columns joined by " | "; null if all are
    null) and `text` (never null), without the columns that they were made of.

    `cleaned` items had HTML or invisible characters in their title or a text, `cut` items had a longer text than
    allowed, and `untitled` items have a fallback as their text: they have neither a title nor another text.
    """

    items: pl.DataFrame
    cleaned: int
    cut: int
    untitled: int


def item_texts(items: pl.DataFrame, columns: Sequence[str], settings: TextSettings) -> ItemTexts:
    """The texts of a table with the columns item_id, title (which may be absent) and `schema.text_part` for each name
    in `columns`, the text columns. Raises SettingError for a template that cannot be used."""
    parts = schema.text_parts(items.columns)
    raw = items if schema.TITLE in items.columns else items.with_columns(pl.lit(None, pl.String).alias(schema.TITLE))
    clean = raw.with_columns(_clean(raw[name], html=settings.clean_html) for name in (schema.TITLE, *parts))
    metadata = _joined(clean, parts)
    line = metadata
    if settings.template is not None:
        written = clean.select(line_of(parse_template(settings.template, columns), parts)).to_series()
        line = clean_characters(written).fill_null(metadata)
    text = line.fill_null(_fallback(clean, settings))
    most = settings.max_chars
    return ItemTexts(
        items=clean.drop(parts).with_columns(
            text.str.slice(0, most).alias(schema.TEXT), metadata.str.slice(0, most).alias(schema.METADATA)
        ),
        cleaned=_num_changed(raw, clean),
        cut=int((text.str.len_chars() > most).sum()),
        untitled=line.null_count(),
    )


def _clean(text: pl.Series, html: bool) -> pl.Series:
    """`text` with clean characters, also those that are written as HTML entities."""
    tidy = clean_characters(text)
    if not html or (without_html := clean_html(tidy)) is tidy:
        return tidy
    return clean_characters(without_html)


def _joined(items: pl.DataFrame, parts: Sequence[str]) -> pl.Series:
    """The text columns joined; null for an item of which all are null."""
    if not parts:
        return pl.repeat(None, len(items), dtype=pl.String, eager=True)
    text = items.select(pl.concat_str(parts, separator=SEPARATOR, ignore_nulls=True)).to_series()
    return text.set(text == "", None)


def _fallback(items: pl.DataFrame, settings: TextSettings) -> pl.Series:
    """The text of each item if it has no other."""
    untitled = pl.repeat(_UNTITLED, len(items), dtype=pl.String, eager=True)
    if settings.fallback == "none":
        return untitled
    return clean_characters(items[schema.ITEM_ID]).fill_null(untitled)


def _num_changed(before: pl.DataFrame, after: pl.DataFrame) -> int:
    """How many items differ in some text."""
    names = (schema.TITLE, *schema.text_parts(before.columns))
    changed = [before[name].ne_missing(after[name]) for name in names]
    return int(pl.select(pl.any_horizontal(changed)).to_series().sum())
