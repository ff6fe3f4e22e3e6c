"""How good the trainings were, and which are better or worse than their baseline."""

from collections.abc import Mapping

import numpy as np

from eimf.statistics import Difference, Mean, mean, paired_difference
from pipeline.report.card.described import count
from pipeline.report.differences import Comparison, Differences
from pipeline.report.html.compared import counted, detectable, p_value, signed, told
from pipeline.report.html.document import Section, blocks, card
from pipeline.report.html.plots import Interval, intervals
from pipeline.report.html.runs import NDCG, RECALL, Group, Study
from pipeline.report.html.tables import sortable
from pipeline.report.markup import Markup, join, tag
from pipeline.report.tables import Cell, Number, Table

_MOST_ROWS = 24
"""Of a plot; the table has all."""
_MOST_OPEN = 12
"""Rows of a table that is shown at once; the rest of the means, and longer comparisons, are in a card to be opened."""
_NOTE = (
    "Better and worse: the difference in NDCG@10 over the same test cases, for the mean of each case over the seeds "
    "that both have, has a p below .05 after Holm's correction for all comparisons with the same baseline. Not shown: "
    "the test sees no difference; a gain of the size in the column 'detectable' it would have seen four times of five. "
    "Intervals hold 95 % and are not corrected. They are over test cases: how far seeds differ is the ± of the means.",
    "A test of a sweep that was looked at while it ran, or of many variants of which the best is reported, says less "
    "than it seems to.",
)


def results_section(study: Study, differences: Differences) -> Section:
    """Means, and comparisons with every baseline, by dataset."""
    parts = [_dataset(study, dataset, differences) for dataset in study.names]
    note = [tag("p", line, class_="note") for line in _NOTE] if differences else []
    return Section("results", "Results", join(*parts, *note))


def _dataset(study: Study, dataset: str, differences: Differences) -> Markup:
    groups = study.groups(dataset)
    note = "NDCG@10 and Recall@10: mean over seeds ± standard deviation. Interval: 95 %, over test cases."
    parts: list[Markup] = [
        tag("h3", tag("bdi", dataset)),
        *_means_tables(dataset, groups),
        tag("p", note, class_="note"),
    ]
    by_base: dict[str, Differences] = {}
    for key, of in differences.items():
        if key.dataset == dataset:
            by_base.setdefault(key.base, {})[key] = of
    parts.append(blocks(*(plot for base, found in by_base.items() if (plot := _plot(dataset, base, found)))))
    for base, found in by_base.items():
        table = sortable(_differences(found), f"Compared with {base} on {dataset}")
        many = f"All {len(found)} comparisons with {base} on {dataset}"
        parts.append(card(many, table) if len(found) > _MOST_OPEN else table)
    return join(*parts)


def _means_tables(dataset: str, groups: Mapping[tuple[str, str], Group]) -> list[Markup]:
    """All models, or the best, and all of them to be opened."""
    whole = _means(groups)
    if len(whole.rows) <= _MOST_OPEN:
        return [sortable(whole, f"Test results on {dataset}")]
    best = Table(whole.corner, whole.columns, whole.rows[:_MOST_OPEN])
    every = f"All {len(whole.rows)} models on {dataset}"
    return [sortable(best, f"The best {_MOST_OPEN} models on {dataset}"), card(every, sortable(whole, every))]


def _means(groups: Mapping[tuple[str, str], Group]) -> Table:
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for (backbone, variant), runs in groups.items():
        seeds = ", ".join(map(str, sorted(runs)))
        means = [mean_of(runs, str(metric)) for metric in (NDCG, RECALL)]
        rows.append((f"{backbone} {variant}", (means[0], _interval(runs), means[1], seeds)))
    columns = (str(NDCG).upper(), "95 % interval", "Recall@10", "seeds")
    return Table("model", columns, tuple(sorted(rows, key=lambda row: -_value(row[1][0]))))


def _value(cell: Cell) -> float:
    return cell.value if isinstance(cell, Mean) else 0.0


def mean_of(runs: Group, metric: str) -> Mean:
    """Over the seeds of a model."""
    return mean([run.summary[metric] for run in runs.values()])


def _interval(runs: Group) -> str:
    """Of the mean over cases, if the seeds have the same cases."""
    values = [run.ndcg for run in runs.values()]
    if len({len(of_cases) for of_cases in values}) > 1 or len(values[0]) < 2:
        return "-"
    over_seeds = np.mean(values, axis=0)
    low, high = paired_difference(np.zeros(len(over_seeds)), over_seeds).interval()
    return f"{low:.4f} to {high:.4f}"


def _differences(found: Differences) -> Table:
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for key, of in sorted(found.items(), key=lambda item: -item[1].relative if isinstance(item[1], Difference) else 0):
        if isinstance(of, Difference):
            interval = " to ".join(map(signed, of.interval()))
            shares = _percent(of.relative), p_value(of.p), detectable(of)
            rows.append((key.model, (told(of), signed(of.value), *shares, interval)))
        else:
            rows.append((key.model, (of, None, None, None, None, None)))
    columns = ("in words", "NDCG@10", "gain in %", "p, corrected", "detectable", "95 % interval")
    return Table("model", columns, tuple(rows))


def _percent(share: float) -> Cell:
    return Number(100 * share, 1) if np.isfinite(share) else None


def _plot(dataset: str, base: str, found: Differences) -> Markup:
    """The gains as shares of the baseline; of many the largest gains and losses. Empty if nothing could be tested."""
    tested = {key: of for key, of in found.items() if isinstance(of, Difference) and np.isfinite(of.relative)}
    keys = sorted(tested, key=lambda key: -tested[key].relative)
    title = f"Gain over {base} in NDCG@10 on {dataset}"
    if len(keys) > _MOST_ROWS:
        title += f": {_MOST_ROWS} of {len(keys)} models, the largest gains and losses"
        keys = [*keys[: _MOST_ROWS // 2], *keys[-_MOST_ROWS // 2 :]]
    if not keys:
        return Markup()
    rows = [_row(key, tested[key]) for key in keys]
    said = "; ".join(
        f"{row.name} {row.value:+.1f} %, {tested[key].verdict}" for row, key in zip(rows, keys, strict=True)
    )
    return intervals(title, said, rows, x="% of the baseline", zero=True)


def _row(key: Comparison, of: Difference) -> Interval:
    low, high = (100 * bound / of.base for bound in of.interval())
    numbers = {"better": 2, "worse": 1}
    return Interval(key.model, 100 * of.relative, low, high, numbers.get(of.verdict, 0))


def tiles(study: Study, differences: Differences) -> list[tuple[str, str]]:
    """Figures for the head of the page."""
    said = counted(differences.values())
    shown = [("trainings", count(len(study.runs))), ("datasets", count(len(study.names)))]
    shown += [("models", count(len({(run.dataset, run.model) for run in study.runs})))]
    words = {"better": "better than the baseline", "worse": "worse than it", "not shown": "no difference shown"}
    return shown + [(told, count(said[word])) for word, told in words.items() if differences]
