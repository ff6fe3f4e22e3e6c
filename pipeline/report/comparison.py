"""The table of a comparison: two trainings by metric and slice, with intervals, tests and effect sizes."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eimf.bootstrap import CONFIDENCE
from eimf.evaluation.compare import Bootstrap, Comparison
from eimf.statistics import LEVEL, POWER, Mean
from pipeline.ranked import Pair
from pipeline.report.tables import Cell, Table
from pipeline.report.text import format_share, format_table

_COLUMNS = ("cases", "A", "B", "B - A", f"{100 * CONFIDENCE:.0f} % interval", "gain", "p", "d_z", "would show", "B is")


@dataclass(frozen=True)
class Compared:
    """A pair of trainings with its comparisons; p is adjusted for all pairs that are shown together."""

    pair: Pair
    rows: Sequence[Comparison]


def comparison_text(compared: Sequence[Compared], bootstrap: Bootstrap) -> str:
    """What A and B are, the table, and how to read it."""
    lines = []
    for label, pairs in _by_sides(compared).items():
        of = f" ({', '.join(pairs)})" if len(pairs) > 1 or pairs[0] else ""
        lines += [f"{side}  {name}{of}" for side, name in zip("AB", label, strict=True)]
    notes = comparison_notes(compared, bootstrap)
    return "\n".join([*lines, "", format_table(comparison_table(compared)), "", *notes])


def comparison_notes(compared: Sequence[Compared], bootstrap: Bootstrap) -> list[str]:
    """How to read the table, in lines."""
    tests = sum(row.difference is not None for part in compared for row in part.rows)
    return [
        f"Interval: {bootstrap.samples:,} bootstrap samples of the users ({bootstrap.method}, seed {bootstrap.seed}).",
        f"p: paired t over users, by Holm for {tests} rows; below {LEVEL} B is better or worse.",
        "d_z: B - A in standard deviations of the users.",
        f"Would show: the smallest gain with a p below {LEVEL} in {100 * POWER:.0f} % of such tests.",
    ]


def comparison_table(compared: Sequence[Compared]) -> Table:
    """A row for each comparison."""
    rows = [
        (" ".join(filter(None, (part.pair.label, str(row.metric), row.slice))), _cells(row))
        for part in compared
        for row in part.rows
    ]
    return Table("", _COLUMNS, tuple(rows))


def comparison_json(compared: Sequence[Compared], bootstrap: Bootstrap) -> str:
    """Everything as JSON: null for a number that there is not."""
    rows = [
        {"of": part.pair.label, "a": part.pair.base.label, "b": part.pair.other.label, **_figures(row)}
        for part in compared
        for row in part.rows
    ]
    how = {"samples": bootstrap.samples, "seed": bootstrap.seed, "method": bootstrap.method, "level": LEVEL}
    return json.dumps({**how, "rows": rows}, indent=1)


def _by_sides(compared: Sequence[Compared]) -> dict[tuple[str, str], list[str]]:
    """The labels of the pairs, by what their sides are called."""
    names: dict[tuple[str, str], list[str]] = {}
    for part in compared:
        names.setdefault((part.pair.base.label, part.pair.other.label), []).append(part.pair.label)
    return names


def _cells(row: Comparison) -> tuple[Cell, ...]:
    test, verdict = row.difference, row.verdict
    if test is None or row.interval is None:
        return (f"{row.cases:,}", row.base, row.other, *[""] * 6, verdict)
    low, high = row.interval
    return (
        f"{row.cases:,}",
        row.base,
        row.other,
        f"{test.value:+.4f}",
        f"{low:+.4f} to {high:+.4f}",
        "" if math.isnan(test.relative) else f"{100 * test.relative:+.1f} %",
        f"{test.p:.2g}",
        "" if math.isnan(test.effect_size) else f"{test.effect_size:+.3f}",
        "" if math.isnan(test.relative_detectable) else format_share(test.relative_detectable),
        f"{verdict}, not every seed" if test.significant and test.every_seed_agrees is False else verdict,
    )


def _figures(row: Comparison) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "metric": str(row.metric),
        "slice": row.slice,
        "cases": row.cases,
        "mean_a": _mean(row.base),
        "mean_b": _mean(row.other),
        "verdict": row.verdict,
    }
    if (test := row.difference) is not None and row.interval is not None:
        numbers = {
            "difference": test.value,
            "error": test.error,
            "low": row.interval[0],
            "high": row.interval[1],
            "relative": test.relative,
            "p": test.p,
            "effect_size": test.effect_size,
            "detectable": test.detectable,
            "relative_detectable": test.relative_detectable,
        }
        figures |= {name: _or_null(value) for name, value in numbers.items()}
        figures |= {"users": test.n, "by_seed": list(test.by_seed), "every_seed_agrees": test.every_seed_agrees}
    return figures


def _mean(mean: Mean | None) -> dict[str, Any] | None:
    return None if mean is None else {"value": mean.value, "deviation": _or_null(mean.deviation), "seeds": mean.n}


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None
