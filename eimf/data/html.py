"""Remove HTML from titles: entities become characters, tags are dropped."""

import html
import re
from html.entities import html5

import polars as pl

_ENTITY = re.compile(r"&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_NAME = r"[A-Za-z_:][-\w:.]*"
_ATTRIBUTE = rf"""\s+{_NAME}\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+)"""
_INLINE = "a|abbr|acronym|b|bdi|bdo|big|center|cite|code|del|dfn|em|font|i|ins|kbd|mark|q|s|samp|small|span|strike|"
_INLINE += "strong|sub|sup|tt|u|var|wbr"
_BLOCK = "address|article|aside|blockquote|body|br|button|caption|dd|div|dl|dt|figcaption|figure|footer|form|h[1-6]|"
_BLOCK += "head|header|hr|html|iframe|img|input|label|li|main|nav|ol|option|p|pre|script|section|select|style|table|"
_BLOCK += "tbody|td|textarea|tfoot|th|thead|title|tr|ul|video"
_TAG = re.compile(rf"<(?:/(?:{_INLINE})\s*|(?:{_INLINE})(?:{_ATTRIBUTE})*\s*/?)>", re.IGNORECASE)
_BREAK = re.compile(rf"<!--[^<>]*-->|<(?:/(?:{_BLOCK})\s*|(?:{_BLOCK})(?:{_ATTRIBUTE})*\s*/?)>", re.IGNORECASE)
"""Known tags only, and attributes only with a value: `a <b and c> d` and `I <3 you` are text."""
_ROUNDS = 3
"""Entities may be written as entities: `&amp;amp;`."""


def clean_html(text: pl.Series) -> pl.Series:
    """`text` with entities as characters and without tags, on one line; null if nothing is left."""
    distinct = text.filter(text.str.contains("[&<]")).unique().to_list()
    cleaned = {before: after for before in distinct if (after := _clean(before)) != before}
    if not cleaned:
        return text
    return text.replace(pl.Series(cleaned.keys(), dtype=pl.String), pl.Series(cleaned.values(), dtype=pl.String))


def _clean(text: str) -> str | None:
    before = text
    for _ in range(_ROUNDS):
        changed = _ENTITY.sub(_character, _TAG.sub("", _BREAK.sub(" ", text)))
        if changed == text:
            break
        text = changed
    return text if text == before else " ".join(text.split()) or None


def _character(match: re.Match[str]) -> str:
    """The character of an entity; an unknown name stays as it is, as in `AT&T;`."""
    name = match[1]
    return html.unescape(match[0]) if name[0] == "#" or f"{name};" in html5 else match[0]
