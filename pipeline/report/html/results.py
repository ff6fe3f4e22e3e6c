"""How good the trainings were, and which are better or worse than their baseline."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eimf.statistics import Difference, Mean, mean, paired_difference
from pipeline.report.card.described import count
from pipeline.report.card.markup import Markup, join, tag
from pipeline.report.html.compared import Compared, Differences, counted, told, would_show
from pipeline.report.html.document import Section
from pipeline.report.html.plots import WIDE, WIDTH, Interval, intervals
from pipeline.report.html.runs import NDCG, RECALL, Group, Study
from pipeline.report.html.tables import sortable
from pipeline.report.tables import Cell, Number, Table

_MOST_ROWS = 24
"""Of a plot; the table has all."""
_NOTE = (
    "Better and worse: the difference in NDCG@10 over the same test cases, for the mean of each case over the seeds "
    "that both have, has a p below .05 after Holm's correction for all comparisons with the same baseline. Not shown: "
    "the test sees no difference, and would have seen a gain of the size in the last column four times out of five. "
    "Intervals hold 95 % and are not corrected. They are over test cases: how far seeds differ is the ± of the means.",
    "A test of a sweep that was looked at while it ran, or of many variants of which the best is reported, says less "
    "than it seems to.",
)


def results_section(study: Study, differences: Differences) -> Section:
    """Means, and comparisons with every baseline, by dataset."""
    parts = [_dataset(study, dataset, differences) for dataset in study.names]
    note = [tag("p", line, class_="note") for line in _NOTE] if differences else []
    return Section("results", "Results", join(*parts, *note))


def in_short(study: Study, differences: Differences) -> Iterator[str]:
    """One sentence or two for each dataset: what was best, and what the comparisons say."""
    for dataset in study.names:
        groups = study.groups(dataset)
        best = max(groups, key=lambda key: _mean(groups[key], str(NDCG)).value)
        line = f"{dataset}: the highest NDCG@10 is {_mean(groups[best], str(NDCG)).value:.4f}, of {' '.join(best)}."
        for base in dict.fromkeys(compared.base for compared in differences if compared.dataset == dataset):
            found = {key: of for key, of in differences.items() if (key.dataset, key.base) == (dataset, base)}
            said = [f"{number} {name}" for name, number in counted(found.values()).items() if number]
            line += f" Of {len(found)} comparisons with {base}: {', '.join(said) or 'none could be made'}."
        yield line


def _dataset(study: Study, dataset: str, differences: Differences) -> Markup:
    groups = study.groups(dataset)
    means = sortable(_means(groups), f"Test results on {dataset}", text_columns=0)
    note = "NDCG@10 and Recall@10: mean over seeds ± standard deviation. Interval: 95 %, over test cases."
    parts: list[Markup] = [tag("h3", tag("bdi", dataset)), means, tag("p", note, class_="note")]
    for base in dict.fromkeys(base for _, base in study.pairs):
        found = {key: of for key, of in differences.items() if (key.dataset, key.base) == (dataset, base)}
        if found:
            parts.append(_against(dataset, base, found))
    return join(*parts)


def _means(groups: Mapping[tuple[str, str], Group]) -> Table:
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for (backbone, variant), runs in groups.items():
        seeds = ", ".join(map(str, sorted(runs)))
        means = [_mean(runs, str(metric)) for metric in (NDCG, RECALL)]
        rows.append((f"{backbone} {variant}", (means[0], _interval(runs), means[1], seeds)))
    columns = (str(NDCG).upper(), "95 % interval", "Recall@10", "seeds")
    return Table("model", columns, tuple(sorted(rows, key=lambda row: -_value(row[1][0]))))


def _value(cell: Cell) -> float:
    return cell.value if isinstance(cell, Mean) else 0.0


def _mean(runs: Group, metric: str) -> Mean:
    return mean([run.summary[metric] for run in runs.values()])


def _interval(runs: Group) -> str:
    """Of the mean over cases, if the seeds have the same cases."""
    values = [run.ndcg for run in runs.values()]
    if len({len(of_cases) for of_cases in values}) > 1 or len(values[0]) < 2:
        return "-"
    over_seeds = np.mean(values, axis=0)
    low, high = paired_difference(np.zeros(len(over_seeds)), over_seeds).interval()
    return f"{low:.4f} to {high:.4f}"


def _against(dataset: str, base: str, found: Differences) -> Markup:
    tested = {key: of for key, of in found.items() if isinstance(of, Difference)}
    table = sortable(_differences(found), f"Compared with {base} on {dataset}", text_columns=1)
    shown = sorted(tested, key=lambda key: -tested[key].relative)
    shown = [key for key in shown if np.isfinite(tested[key].relative)]
    parts = [_plot(dataset, base, shown, tested)] if shown else []
    left = len(shown) - _MOST_ROWS
    note = [
        tag("p", f"The plot has {_MOST_ROWS} of {len(shown)} comparisons: the largest gains and losses.", class_="note")
    ]
    return join(tag("h4", "Compared with ", tag("bdi", base)), *parts, table, *(note if left > 0 else []))


def _differences(found: Differences) -> Table:
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for key, of in found.items():
        if isinstance(of, Difference):
            low, high = of.interval()
            interval = f"{low:+.4f} to {high:+.4f}"
            shares = _percent(of.relative), f"{of.p:.2g}", would_show(of)
            rows.append((key.model, (Number(of.value), interval, *shares, told(of))))
        else:
            rows.append((key.model, (None, None, None, None, None, of)))
    columns = ("NDCG@10", "95 % interval", "gain in %", "p, corrected", "would show", "in words")
    return Table("model", columns, tuple(rows))


def _percent(share: float) -> Cell:
    return Number(100 * share, 1) if np.isfinite(share) else None


def _plot(dataset: str, base: str, keys: Sequence[Compared], tested: Mapping[Compared, Difference]) -> Markup:
    if len(keys) > _MOST_ROWS:
        keys = [*keys[: _MOST_ROWS // 2], *keys[-_MOST_ROWS // 2 :]]
    rows = [_row(key, tested[key]) for key in keys]
    title = f"Gain over {base} in NDCG@10, with 95 % intervals: {dataset}"
    said = "; ".join(
        f"{row.name} {row.value:+.1f} %, {tested[key].verdict}" for row, key in zip(rows, keys, strict=True)
    )
    longest = max(len(row.name) for row in rows)
    return intervals(title, said, rows, x="% of the baseline", zero=True, width=WIDE if longest > 24 else WIDTH)


def _row(key: Compared, of: Difference) -> Interval:
    low, high = (100 * bound / of.base for bound in of.interval())
    numbers = {"better": 2, "worse": 1}
    return Interval(key.model, 100 * of.relative, low, high, numbers.get(of.verdict, 0))


def tiles(study: Study, differences: Differences) -> list[tuple[str, str]]:
    """Figures for the head of the page."""
    said = counted(differences.values())
    shown = [("trainings", count(len(study.runs))), ("datasets", count(len(study.names)))]
    shown += [("models", count(len({(run.dataset, run.model) for run in study.runs})))]
    return shown + [(name, count(said[name])) for name in ("better", "worse", "not shown") if differences]
