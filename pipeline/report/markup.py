"""HTML and SVG as text, escaped by construction: a string is text unless a `tag` made it."""

from html import escape
from importlib import resources

from eimf.errors import printable


class Markup(str):
    """Text that is markup already."""


def tag(_name: str, *children: str, **attributes: str | float | bool | None) -> Markup:
    """An element. A child that is no Markup is escaped, with its control characters written out. An attribute that is
    None or false is left out, and one that is true has no value; `class_` is `class`, and `_` is written `-`. Numbers
    have one decimal."""
    written = "".join(
        f" {_attribute(key, value)}" for key, value in attributes.items() if not (value is None or value is False)
    )
    if _name in _VOID:
        return Markup(f"<{_name}{written}>")
    return Markup(f"<{_name}{written}>{join(*children)}</{_name}>")


def join(*parts: str) -> Markup:
    """Parts one after the other; those that are no Markup are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escape(printable(part, keep=_KEPT)) for part in parts))


def page_file(name: str) -> str:
    """A style sheet or a script of the pages, by its path below pipeline/report."""
    return (resources.files("pipeline") / "report" / name).read_text(encoding="utf-8")


_VOID = {"meta"}
_KEPT = "\n\N{NO-BREAK SPACE}"


def _attribute(key: str, value: str | float | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return name
    text = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
    return f'{name}="{escape(printable(text, keep=_KEPT))}"'
