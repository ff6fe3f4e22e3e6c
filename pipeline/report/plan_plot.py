"""The plan of stage one as one SVG file: coverage against the number of clusters, and how many requests each costs.

It needs nothing else: no script, no font, no style sheet. Colours follow the reader's light or dark mode.
"""

from pipeline.report.card.plots import Axis, short
from pipeline.report.markup import Markup, join, tag
from pipeline.report.plan import duration
from pipeline.stages.planning import Plan

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 28, 64, 92
_STYLE = """
:root { color-scheme: light dark; }
svg { background: #fff; }
text { fill: #5a626c; font: 13px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.name { fill: #1d2126; }
.grid { stroke: #e3e3df; }
.line { fill: none; stroke: #1f5fbf; stroke-width: 2.2; }
.dot { fill: #1f5fbf; }
.low { stroke: #b45a09; stroke-dasharray: 7 4; }
.dot.low { fill: #b45a09; stroke: none; }
.knee { stroke: #1c7c4a; stroke-width: 1.5; stroke-dasharray: 3 4; }
@media (prefers-color-scheme: dark) {
  svg { background: #1b1f24; }
  text { fill: #a0a8b2; }
  .name { fill: #e7eaee; }
  .grid { stroke: #2c323a; }
  .line { stroke: #8ab6ff; }
  .dot { fill: #8ab6ff; }
  .low { stroke: #f2b35e; }
  .dot.low { fill: #f2b35e; }
  .knee { stroke: #7fd6a4; }
}
"""


def plan_svg(plan: Plan, name: str) -> str:
    """The whole file, for the plan of the dataset `name`."""
    counts = [choice.clusters for choice in plan.choices]
    means, lows = ([getattr(choice.coverage, part) for choice in plan.choices] for part in ("mean", "low"))
    bottom = _HEIGHT - _BOTTOM
    margin = max((max(means) - min(lows)) * 0.08, 0.001)
    y = Axis(min(lows) - margin, min(max(means) + margin, 1), bottom, _TOP)
    low, high = (counts[0], counts[-1]) if len(counts) > 1 else (counts[0] / 2, counts[0] * 2)
    x = Axis(low, high, _LEFT + 30, _WIDTH - _RIGHT - 30, log=True)
    grid = [
        join(
            tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y(tick), y2=y(tick)),
            _text(f"{tick:.3f}".rstrip("0").rstrip("."), _LEFT - 8, y(tick) + 4, "end"),
        )
        for tick in y.ticks()
    ]
    below = []
    for choice in plan.choices:
        replies = choice.pending * plan.reply_tokens
        asked = [f"{short(choice.pending)} to ask"]
        asked += [duration((choice.prompt_tokens + replies) / plan.rate)] if plan.rate else []
        own = "recipe" if choice.clusters == plan.present else ""
        for line, text in enumerate([short(choice.clusters), *asked, own]):
            below.append(
                _text(text, x(choice.clusters), bottom + 20 + 17 * line, "middle", "name" if not line else None)
            )
    drawn = [
        _line(list(map(x, counts)), list(map(y, means)), ""),
        _line(list(map(x, counts)), list(map(y, lows)), "low"),
    ]
    if plan.knee is not None:
        at = x(counts[plan.knee])
        drawn.append(tag("line", class_="knee", x1=at, x2=at, y1=_TOP - 8, y2=bottom))
        drawn.append(_text("knee", at, _TOP - 14, "middle"))
    legend = [
        tag("line", class_="line", x1=_LEFT, x2=_LEFT + 26, y1=42, y2=42), _text("mean", _LEFT + 32, 46),
        tag("line", class_="line low", x1=_LEFT + 90, x2=_LEFT + 116, y1=42, y2=42),
        _text("low decile", _LEFT + 122, 46),
    ]  # fmt: skip
    title = f"How well typical users stand for all users of {name}"
    described = "; ".join(
        f"{choice.clusters} clusters: mean cosine {choice.coverage.mean:.4f}, low decile {choice.coverage.low:.4f}, "
        f"{choice.pending} requests" for choice in plan.choices
    )  # fmt: skip
    content = join(
        tag("title", title), tag("desc", described), tag("style", Markup(_STYLE)),
        _text(f"{title}: cosine, by number of clusters", _LEFT, 22, None, "name"), *legend, *grid, *below, *drawn,
    )  # fmt: skip
    size = {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "width": str(_WIDTH), "height": str(_HEIGHT)}
    return f"{tag('svg', content, role='img', xmlns='http://www.w3.org/2000/svg', **size)}\n"


def _line(xs: list[float], ys: list[float], kind: str) -> Markup:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
    dots = [tag("circle", class_=f"dot {kind}".strip(), cx=x, cy=y, r=3.5) for x, y in zip(xs, ys, strict=True)]
    return join(tag("path", class_=f"line {kind}".strip(), d=path), *dots)


def _text(text: str, x: float, y: float, anchor: str | None = None, class_: str | None = None) -> Markup:
    return tag("text", text, x=float(x), y=float(y), text_anchor=anchor, class_=class_)
