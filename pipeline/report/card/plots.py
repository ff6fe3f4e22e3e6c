"""Plots as inline SVG, coloured by the style sheet of the page: bars, lines, and a curve on log axes.

Each has a title and a description for those who do not see it; the numbers stand in a table next to it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.report.card.described import cut
from pipeline.report.markup import Markup, join, tag

_WIDTH, _HEIGHT = 460, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 14, 44
_ROW = 26
_SERIES = ("solid", "dashed", "dotted")


@dataclass(frozen=True)
class Axis:
    """Values to positions from `begin` to `end`; `log` for values above 0."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.begin + (self.end - self.begin) * (value - low) / ((high - low) or 1)

    def ticks(self) -> list[float]:
        """Round values: powers of ten on a log axis, otherwise about five."""
        if self.log:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [10.0**power for power in powers]
        step = nice_step((self.high - self.low) / 5)
        return [step * number for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, ... (and .1, .2, .5, ...) that is not below `least`."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)


def short(number: float) -> str:
    """A number for an axis: 1,200 is 1.2k."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


@dataclass(frozen=True)
class Bar:
    """`label` is where it begins on the axis, `name` what the pointer shows."""

    value: float
    label: str
    name: str


def bars(title: str, description: str, values: Sequence[Bar], x_name: str) -> Markup:
    """Upright bars next to each other, with as many labels as fit."""
    y = Axis(0, max((bar.value for bar in values), default=0) or 1, _HEIGHT - _BOTTOM, _TOP)
    width = (_WIDTH - _LEFT - _RIGHT) / max(len(values), 1)
    lefts = [_LEFT + number * width for number in range(len(values))]
    drawn = [
        _bar(bar.name, left + width * 0.05, y(bar.value), width * 0.9, y(0))
        for left, bar in zip(lefts, values, strict=True)
    ]
    every = max(1, math.ceil((max((len(bar.label) for bar in values), default=0) * 8 + 4) / width))
    below = [_below(bar.label, left) for left, bar in list(zip(lefts, values, strict=True))[::every]]
    return _figure(title, description, _HEIGHT, join(*_grid(y), *drawn, *below, _x_name(x_name)))


def curve(title: str, description: str, xy: Sequence[tuple[float, float]], x_name: str) -> Markup:
    """One line on log axes; points that are not above 0 are left out."""
    xy = [(x, y) for x, y in xy if x > 0 and y > 0] or [(1, 1)]
    highest = max(y for _, y in xy)
    x_axis = Axis(1, max(max(x for x, _ in xy), 10), _LEFT, _WIDTH - _RIGHT, log=True)
    y_axis = Axis(1, max(highest, 10), _HEIGHT - _BOTTOM, _TOP, log=True)
    below = [_below(short(tick), x_axis(tick)) for tick in x_axis.ticks()]
    line = tag("path", class_="line solid", d=_path((x_axis(x), y_axis(y)) for x, y in xy))
    return _figure(title, description, _HEIGHT, join(*_grid(y_axis), *below, line, _x_name(x_name)))


def lines(
    title: str,
    description: str,
    series: Sequence[tuple[str, Sequence[float | None]]],
    labels: Sequence[str],
    x_name: str,
) -> Markup:
    """At most three lines over the same places, in percent, named in a legend; a gap is None."""
    values = [value for _, line in series for value in line if value is not None]
    top = min(nice_step(100 * max(values, default=0) / 4) * 4, 100)
    y_axis = Axis(0, top, _HEIGHT - _BOTTOM, _TOP + 20)
    x_axis = Axis(0, max(len(labels) - 1, 1), _LEFT + 12, _WIDTH - _RIGHT - 12)
    drawn, at = [], float(_LEFT)
    for style, (name, line) in zip(_SERIES, series, strict=False):
        points = [(x_axis(x), y_axis(100 * y)) for x, y in enumerate(line) if y is not None]
        dots = [tag("circle", class_=f"dot {style}", cx=x, cy=y, r=3) for x, y in points]
        key = tag("line", class_=f"line {style}", x1=at, y1=12, x2=at + 24, y2=12)
        drawn += [tag("path", class_=f"line {style}", d=_path(points)), *dots, key, _text(name, at + 30, 16)]
        at += 44 + 7 * len(name)
    below = [_below(label, x_axis(x)) for x, label in enumerate(labels)]
    return _figure(title, description, _HEIGHT, join(*_grid(y_axis, " %"), *below, *drawn, _x_name(x_name)))


def rows(title: str, description: str, values: Sequence[tuple[str, float, str]]) -> Markup:
    """A bar for each name, one below the other, with what is written at its end."""
    height = _ROW * len(values) + 8
    longest = max((value for _, value, _ in values), default=0) or 1
    left, end = 196, _WIDTH - 66
    x = Axis(0, longest, left, end)
    drawn = []
    for number, (name, value, written) in enumerate(values):
        y = 4 + _ROW * number
        drawn += [
            _text(cut(name, 23), left - 8, y + 17, anchor="end"),
            _bar(name, left, y + 4, max(x(value) - left, 1), y + _ROW - 4),
            _text(written, x(value) + 6, y + 17),
        ]
    return _figure(title, description, height, join(*drawn))


def _figure(title: str, description: str, height: int, content: Markup) -> Markup:
    size = {"viewBox": f"0 0 {_WIDTH} {height}"}
    return tag("svg", tag("title", title), tag("desc", description), content, role="img", **size)


def _grid(y: Axis, unit: str = "") -> Iterable[Markup]:
    for tick in y.ticks():
        yield tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y(tick), y2=y(tick))
        yield _text(short(tick) + unit, _LEFT - 7, y(tick) + 4, anchor="end")


def _bar(name: str, x: float, top: float, width: float, bottom: float) -> Markup:
    return tag("rect", tag("title", name), class_="bar", x=x, y=top, width=width, height=bottom - top)


def _below(label: str, x: float) -> Markup:
    return _text(label, x, _HEIGHT - _BOTTOM + 17, anchor="middle")


def _x_name(name: str) -> Markup:
    return _text(name, (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, anchor="middle", class_="name")


def _text(text: str, x: float, y: float, anchor: str | None = None, class_: str | None = None) -> Markup:
    return tag("text", text, x=float(x), y=float(y), text_anchor=anchor, class_=class_)


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
