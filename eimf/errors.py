"""The errors a user can cause: each names the field, the problem and a hint, and is printed on one line."""

import unicodedata
from collections.abc import Mapping
from typing import Any

_LONGEST = {"field": 200, "problem": 300, "hint": 240}
"""Characters of each part of an error: it may quote a value of a megabyte."""


def printable(text: str, keep: str = "") -> str:
    """`text` with control and format characters written out (`\\x1b`), except those in `keep`: text from
    outside must not move the cursor, set colours or reverse lines."""
    if text.isascii() and text.isprintable():
        return text
    keep += " \u200c\u200d"  # the joiners of Persian and of emoji
    return "".join(
        character if character in keep or unicodedata.category(character)[0] not in "CZ" else _written_out(character)
        for character in text
    )


def _written_out(character: str) -> str:
    """A space of any width as a plain space, everything else as its escape."""
    return " " if unicodedata.category(character) == "Zs" else ascii(character)[1:-1]


def shortened(text: str, length: int) -> str:
    """The beginning and the end of a text longer than `length`."""
    if len(text) <= length:
        return text
    half = (length - 30) // 2
    return f"{text[:half]} ... ({len(text):,} characters) ... {text[-half:]}"


def on_one_line(error: BaseException) -> str:
    """The beginning of the message of another library's error, or its type if it has none: to be quoted in ours."""
    return " ".join(str(error).split())[:200] or type(error).__name__


class UserError(ValueError):
    """Something the user can fix: a setting, a file, a missing install.

    `field` is what the user wrote or has to write (a recipe key, a path, a column), `problem` what is wrong with it,
    `hint` the next thing to do.
    """

    def __init__(self, field: str, problem: str, hint: str) -> None:
        self.field, self.problem, self.hint = field, problem, hint
        parts = {"field": field, "problem": problem, "hint": hint}
        short = {name: shortened(printable(part), _LONGEST[name]) for name, part in parts.items()}
        super().__init__("{field}: {problem}; {hint}".format(**short))

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it: the line, no traceback."""
        return [f"{type(self).__name__}: {self}"]

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        """Its parts: a worker process may have raised it."""
        return type(self), (self.field, self.problem, self.hint)


def describe_validation_error(error: Mapping[str, Any], source: str = "") -> tuple[str, str]:
    """The problem, in `source`, and the hint, of one error of pydantic (`ValidationError.errors()`)."""
    where = f" in {source}" if source else ""
    kind, message = error["type"], error["msg"].removeprefix("Value error, ")
    if kind == "value_error":  # our own messages, which hold both
        problem, _, hint = message.partition("; ")
        return problem + where, hint
    return f"{error['input']!r}{where} is not allowed", _HINTS.get(kind) or message[0].lower() + message[1:]


_HINTS = {
    "string_pattern_mismatch": "use letters, digits, '.', '_' and '-' only, at most 64, the first a letter or a digit",
    "tuple_type": 'write a list such as ["a","b"], without blanks in SET',
    "list_type": 'write a list such as ["a","b"], without blanks in SET',
    "model_type": "it is a section: write its settings one by one, section.key=value",
    "model_attributes_type": "it is a section: write its settings one by one, section.key=value",
    "dict_type": "it is a section: write its settings one by one, section.key=value",
}
"""By pydantic's kind of error, where its own words would not help."""


class DataError(UserError):
    """The events or the item table cannot be used as they are."""


class SettingError(UserError):
    """A recipe key or an option is unknown, out of range, or contradicts another."""


class DivergedError(SettingError):
    """The loss of a training is not finite: with the same settings it will not be again."""


class ModelError(UserError):
    """A model directory or hub id cannot be loaded."""


class ArtifactError(UserError):
    """An artifact is missing, damaged, or belongs to something else."""


class MissingError(UserError):
    """A package, an asset or the network is needed and not there."""
