"""One HTML page that needs nothing else: it can be mailed, printed and archived.

Style sheet and script stand in the page, and a content security policy that names their hashes refuses everything else:
other scripts, style attributes, and requests of any kind. So a body has classes and attributes, never `style` or
`onclick`.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from pipeline.report.markup import Markup, join, page_file, tag


@dataclass(frozen=True)
class Section:
    """One part of a page. `id` is its anchor: letters, digits and hyphens. `body` is Markup; any other string is shown
    as text. Its headings begin at h3."""

    id: str
    title: str
    body: str


def document(
    title: str,
    sections: Sequence[Section],
    *,
    kind: str = "Report",
    about: str = "",
    tiles: Sequence[tuple[str, str]] = (),
    command: str = "",
) -> str:
    """The whole page: a header with `kind`, `title`, what it is `about` and `tiles` (name, figure), a list of contents,
    the sections, and at its end the `command` that made it."""
    style, script = page_file("page.css") + page_file("html/style.css"), page_file("html/script.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("title", title),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        _header(title, kind, about, tiles),
        _contents(sections),
        tag("main", *map(_section, sections), id="content", tabindex="-1"),
        _footer(command),
        tag("p", id="live", role="status", class_="hidden"),
        tag("script", Markup(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def paragraphs(*lines: str) -> Markup:
    """Each line as a paragraph."""
    return join(*(tag("p", line) for line in lines))


def blocks(*parts: str) -> Markup:
    """Figures and tables next to each other where there is room."""
    return tag("div", *parts, class_="blocks") if parts else Markup()


def card(summary: str, *body: str) -> Markup:
    """What is shown of a thing, and `body` once it is opened. The page prints it open."""
    return tag("details", tag("summary", summary), *body, class_="card")


def verdict(word: str, kind: str) -> Markup:
    """A word that stands out; `kind` is `good`, `bad` or `open`. The word alone says it too."""
    return tag("span", word, class_=f"verdict {kind}")


def _header(title: str, kind: str, about: str, tiles: Sequence[tuple[str, str]]) -> Markup:
    shown = [tag("div", tag("dt", name), tag("dd", value)) for name, value in tiles]
    lines = [tag("p", kind, class_="kind"), tag("h1", title), *([tag("p", about)] if about else [])]
    return tag("header", *lines, *([tag("dl", *shown)] if shown else []))


def _contents(sections: Sequence[Section]) -> Markup:
    entries = [tag("li", tag("a", section.title, href=f"#{section.id}")) for section in sections]
    return tag("nav", tag("ul", *entries), aria_label="Contents")


def _section(section: Section) -> Markup:
    heading = f"{section.id}-title"
    return tag("section", tag("h2", section.title, id=heading), section.body, id=section.id, aria_labelledby=heading)


def _footer(command: str) -> Markup:
    made = f"Made by EIMF {metadata.version('eimf')}"
    parts = [f"{made} with ", tag("code", command), "."] if command else [f"{made}."]
    return tag("footer", tag("p", *parts))


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
