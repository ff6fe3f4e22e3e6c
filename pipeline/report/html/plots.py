"""Plots by matplotlib as inline SVG: text stays text, and colours are those of the page, in light and dark.

matplotlib draws with the light colours of the style sheet, and `_svg` puts the variable of each in its place. It writes
no style attribute, which the page refuses, and keeps only what is needed: a plot has some kilobytes.
"""

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from pipeline.report.markup import Markup, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, LINE, SURFACE = "#1d2126", "#5a626c", "#e3e3df", "#fffffe"
SERIES = ("#1f5fbf", "#b45a09", "#1c7c4a", "#b83280", "#0f7285", "#7a4fd0")
"""Colours of series; more than six are told apart by `style` only."""
MARKERS, DASHES = "os^Dv", ("-", (0, (6, 3)), (0, (2, 2)), (0, (6, 2, 2, 2)))
WIDTH, HEIGHT = 460, 260
"""Of a plot in half of the page's width, in the units of its text size."""
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", SURFACE: "surface"}
_VARIABLES |= {color: f"series-{number}" for number, color in enumerate(SERIES, 1)}
_TEXT = 13
_LONGEST_NAME = 24
"""Letters of a row's name that stands to the left of it."""


def style(number: int) -> dict[str, Any]:
    """Colour, marker and dash of the series with this number, for `Axes.plot`: told apart without colour."""
    return {
        "color": SERIES[number % len(SERIES)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number % len(DASHES)],
    }


def plot(
    title: str, description: str, draw: "Callable[[Axes], object]", *, width: int = WIDTH, height: int = HEIGHT
) -> Markup:
    """A figure with `title` as its caption; `draw` draws on the axes. `description` says what those read who do not see
    it. A plot of more than `WIDTH` takes both columns of the page, and scrolls within itself on a phone."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_settings()):
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        draw(figure.add_subplot())
        with io.BytesIO() as file:
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
            svg = _svg(file.getvalue(), title, description)
    content = tag("div", svg, class_="scroll", role="region", tabindex="0", aria_label=title) if width > WIDTH else svg
    return tag("figure", tag("figcaption", title), content, class_="wide" if width > WIDTH else None)


def lines(
    title: str,
    description: str,
    series: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> Markup:
    """A line for each series: its name, its x and its y. `x` and `y` name the axes."""

    def draw(axes: "Axes") -> None:
        for number, (name, xs, ys) in enumerate(series):
            axes.plot(xs, ys, label=name, markersize=3.5 if len(xs) < 60 else 0, **style(number))
        axes.set(xlabel=x, ylabel=y)
        if len(series) > 1:
            legend(axes)

    return plot(title, description, draw, width=width, height=height)


@dataclass(frozen=True)
class Interval:
    """A value and its confidence interval; `number` is that of its series."""

    name: str
    value: float
    low: float
    high: float
    number: int = 0


def intervals(title: str, description: str, values: Sequence[Interval], *, x: str, zero: bool = False) -> Markup:
    """A row for each value, with its interval; with a line at zero if that is what they are compared with. Long names
    stand above their rows, so that the plot has room on a phone."""
    long = max((len(part.name) for part in values), default=0) > _LONGEST_NAME

    def draw(axes: "Axes") -> None:
        for row, part in enumerate(values):
            color = style(part.number)
            axes.plot([part.low, part.high], [row, row], color=color["color"], linewidth=2, solid_capstyle="butt")
            axes.plot([part.value], [row], color=color["color"], marker=color["marker"], markersize=6)
        if zero:
            axes.axvline(0, color=MUTED, linewidth=1.2)
        axes.set(xlabel=x, yticks=range(len(values)), yticklabels=["" if long else part.name for part in values])
        axes.set_ylim(len(values) - 0.5, -0.8 if long else -0.5)
        if long:
            behind = {"facecolor": SURFACE, "edgecolor": "none", "pad": 1}
            for row, part in enumerate(values):
                name = axes.text(0.005, row - 0.25, part.name, color=MUTED, bbox=behind, verticalalignment="bottom")
                name.set_transform(axes.get_yaxis_transform())
        axes.grid(False, axis="y")
        axes.grid(True, axis="x")

    return plot(title, description, draw, height=56 + (38 if long else 24) * len(values))


def legend(axes: "Axes") -> None:
    """Put the legend above the plot, in as many rows as it needs."""
    figure: Any = axes.get_figure()
    names = axes.get_legend_handles_labels()[1]
    columns = max(1, int(figure.get_figwidth() * 72 / (46 + 8 * max(map(len, names), default=1))))
    figure.legend(loc="outside upper left", ncols=min(columns, len(names)), handlelength=2.6)


@cache
def _settings() -> dict[Any, Any]:
    from cycler import cycler

    return {
        "svg.fonttype": "none", "svg.hashsalt": "eimf", "font.size": _TEXT, "axes.titlesize": _TEXT,
        "axes.labelsize": _TEXT, "xtick.labelsize": _TEXT, "ytick.labelsize": _TEXT, "legend.fontsize": _TEXT,
        "text.color": MUTED, "axes.labelcolor": INK, "xtick.color": MUTED, "ytick.color": MUTED,
        "axes.edgecolor": LINE, "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
        "axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True, "grid.color": LINE, "grid.linewidth": 1,
        "xtick.major.size": 0, "ytick.major.size": 0, "xtick.minor.size": 0, "ytick.minor.size": 0,
        "lines.linewidth": 2, "legend.frameon": False, "axes.prop_cycle": cycler(color=SERIES),
        "axes.formatter.useoffset": False, "text.parse_math": False, "axes.unicode_minus": True,
        "figure.constrained_layout.h_pad": 0.02, "figure.constrained_layout.w_pad": 0.02,
    }  # fmt: skip


_XLINK = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d+")
_COLOR = re.compile(r"#[0-9a-f]{6}")
_REFERENCE = re.compile(r"#([pmC][0-9A-Za-z_]+)")
_LEFT_OUT = {"metadata", "style"}
_TEXT_STYLE = {"font", "font-size", "font-family", "font-style", "font-weight", "font-variant", "font-stretch"}


def _svg(file: bytes, title: str, description: str) -> Markup:
    """matplotlib's file as an element of the page."""
    root = ElementTree.fromstring(file)
    prefix = hashlib.sha256(file).hexdigest()[:8]
    children = [child for element in root for child in _element(element, prefix)]
    box = _rounded(root.attrib["viewBox"])
    attributes = {"viewBox": box, "width": box.split()[2]}
    return tag("svg", tag("title", title), tag("desc", description), *children, role="img", class_="plot", **attributes)


def _element(element: ElementTree.Element, prefix: str) -> Iterator[Markup]:
    """The element without what is not needed; a group without attributes is left out, its children are not."""
    name = element.tag.partition("}")[2]
    if name in _LEFT_OUT:
        return
    children = [child for part in element for child in _element(part, prefix)]
    attributes = dict(_attributes(element, name, prefix))
    if name in ("g", "defs") and not attributes and (name == "g" or not children):
        yield from children
    else:
        yield tag(name, (element.text or "").strip(), *children, **attributes)


def _attributes(element: ElementTree.Element, name: str, prefix: str) -> Iterator[tuple[str, str]]:
    """Of matplotlib's ids only those of what is used again, with a `prefix` that no other plot of the page has."""
    for key, value in element.attrib.items():
        if key == "id":
            if name in ("path", "clipPath") and _REFERENCE.match(f"#{value}"):
                yield "id", f"{prefix}-{value}"
        elif key == "style":
            yield from _declarations(value)
        elif key == _XLINK:
            yield "href", f"#{prefix}-{value[1:]}"
        elif key.startswith("{") or (key == "transform" and value.startswith("rotate(-0 ")):
            continue
        elif key == "clip-path":
            yield key, _REFERENCE.sub(lambda match: f"#{prefix}-{match[1]}", value)
        else:
            yield key, _rounded(value)


def _declarations(css: str) -> Iterator[tuple[str, str]]:
    """A style attribute as attributes of its own, which the page's policy allows."""
    for declaration in css.split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key and key not in _TEXT_STYLE:
            yield key, _COLOR.sub(_variable, _rounded(value))


def _variable(match: re.Match[str]) -> str:
    return f"var(--{_VARIABLES[match[0]]})" if match[0] in _VARIABLES else match[0]


def _rounded(text: str) -> str:
    """With one decimal for every number from ten on, two for the others, and no line breaks."""
    return _NUMBER.sub(lambda match: _short(float(match[0])), " ".join(text.split()))


def _short(number: float) -> str:
    return f"{number:.{1 if abs(number) >= 10 else 2}f}".rstrip("0").rstrip(".")
