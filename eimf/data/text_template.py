"""The setting `text.template`: how the columns of an item become one line of text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import polars as pl

from eimf.errors import SettingError

_TOKEN = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{[^{}]*\}|[\[\]{}]|[^\[\]{}]+")
_LITERAL = {"{{": "{", "}}": "}", "[[": "[", "]]": "]"}


@dataclass(frozen=True)
class Part:
    """Text and columns (by their number) in turn. An `optional` part is left out if one of its columns is null."""

    pieces: tuple[str | int, ...]
    optional: bool

    @property
    def columns(self) -> list[int]:
        return [piece for piece in self.pieces if isinstance(piece, int)]


def parse_template(template: str, columns: Sequence[str]) -> list[Part]:
    """The parts of a template such as "{title} by {brand} [in {categories}]", with the names of `columns`; `{{` and
    `[[` stand for the character itself, and so do `}}` and `]]`. Raises SettingError."""
    parts: list[Part] = []
    pieces: list[str | int] = []
    optional = False
    for token in _TOKEN.findall(template):
        if token in _LITERAL:
            pieces.append(_LITERAL[token])
        elif len(token) > 1 and token[0] == "{":
            pieces.append(_column(token[1:-1], columns))
        elif token in ("{", "}"):
            _refuse(f"{token!r} has no other half", f"write {token * 2} for the character itself")
        elif token in ("[", "]"):
            parts.append(Part(tuple(pieces), optional))
            if (token == "[") == optional:
                _refuse(f"{token!r} has no other half, or is inside brackets", f"write {token * 2} for the character")
            pieces, optional = [], not optional
        else:
            pieces.append(token)
    if optional:
        _refuse("'[' has no other half", "write [[ for the character itself")
    parts.append(Part(tuple(pieces), optional=False))
    _check_columns(parts)
    return [part for part in parts if part.pieces]


def line_of(parts: Sequence[Part], columns: Sequence[str]) -> pl.Expr:
    """The text that a template writes, from the `columns` of a frame in the order of the template's names. A null
    outside brackets is nothing; null if all columns that the template names are null."""
    used = sorted({number for part in parts for number in part.columns})
    line = pl.concat_str([_text_of(part, columns) for part in parts])
    return pl.when(pl.any_horizontal(pl.col(columns[number]).is_not_null() for number in used)).then(line)


def _text_of(part: Part, columns: Sequence[str]) -> pl.Expr:
    values = [
        pl.col(columns[piece]) if isinstance(piece, int) else pl.lit(piece, dtype=pl.String) for piece in part.pieces
    ]
    if part.optional:
        return pl.concat_str(values).fill_null("")
    return pl.concat_str([value.fill_null("") for value in values])


def _column(name: str, columns: Sequence[str]) -> int:
    if name not in columns:
        _refuse(f"column {name!r} is not one of text.columns", f"use one of {list(columns)}")
    return list(columns).index(name)


def _check_columns(parts: Sequence[Part]) -> None:
    """Raises SettingError if brackets hold no column, or if there is no column at all."""
    if any(part.optional and not part.columns for part in parts):
        _refuse("a part in brackets names no column", "write [[ and ]] for brackets in the text")
    if not any(part.columns for part in parts):
        _refuse("it names no column", 'write for example "{title} by {brand}"')


def _refuse(problem: str, hint: str) -> NoReturn:
    raise SettingError("text.template", problem, hint)
