"""Results by slice: popular and rare items, short and long histories, new and repeated targets, what the LLM read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from eimf import schema
from eimf.errors import UserError
from eimf.evaluation.case_values import case_values, read_ranks
from eimf.evaluation.slices import ALL, slices_of
from eimf.statistics import Difference
from eimf.store.artifact import Artifact
from pipeline.histories import read_dataset
from pipeline.ranked import stage_one_users
from pipeline.report.card.described import count
from pipeline.report.differences import Comparison, Differences, corrected, seeds_difference
from pipeline.report.html.compared import told
from pipeline.report.html.document import Section, card
from pipeline.report.html.plots import Interval, intervals
from pipeline.report.html.runs import NDCG, Study
from pipeline.report.html.tables import marked, sortable
from pipeline.report.markup import Markup, join, tag
from pipeline.report.tables import Cell, Table

_NAMES = {
    "all": "all targets",
    "popularity:head": "popular item (most frequent fifth)",
    "popularity:tail": "other item",
    "popularity:cold": "item without a training event",
    "history:short": "history up to the median",
    "history:long": "history above the median",
    "target:new": "new item for the user",
    "target:repeated": "item the user had before",
    "read:yes": "user whom the LLM read",
    "read:no": "user whom the LLM did not read",
    "typical:near": "near the typical user",
    "typical:far": "far from the typical user",
}
_MOST_VARIANTS = 5
_FEW = 30
"""Cases of a slice that is shown without a test."""
Values = Mapping[str, Mapping[int, np.ndarray]]
"""NDCG@10 of the cases of each slice, by seed."""


@dataclass(frozen=True)
class SlicedDataset:
    """Values by backbone and variant, and the cases of each slice that has any."""

    name: str
    cases: Mapping[str, int]
    values: Mapping[tuple[str, str], Values]


def slices_section(study: Study) -> tuple[Section | None, list[str]]:
    """The section, or None if the store has the ranks of no training of a dataset; and in words what it lacks."""
    sliced, problems = [], []
    for name, dataset in study.datasets.items():
        try:
            sliced.append(_sliced(study, name, dataset))
        except UserError as error:
            problems.append(f"Slices of {name}: {error}")
    missing = [name for name in study.names if name not in study.datasets]
    problems += [
        f"Slices of {name}: the store has no such dataset, so nothing is known of its items." for name in missing
    ]
    sliced = [of for of in sliced if of.values]
    if not sliced:
        return None, problems
    differences = corrected(dict(pair for of in sliced for pair in _differences(study, of)))
    note = (
        "Targets are the items that the test asks for. Each slice has the mean NDCG@10 over its cases and seeds; the "
        "word compares it with the baseline on the same cases, corrected for all slices of this section."
    )
    body = [tag("p", note, class_="note"), *(_dataset(study, of, differences) for of in sliced)]
    return Section("slices", "Slices", join(*body)), problems


def _sliced(study: Study, name: str, dataset: Artifact) -> SlicedDataset:
    """Raises UserError."""
    histories = read_dataset(dataset)
    cases = histories.cases[schema.TEST]
    esim = study.esim(name)
    users = None if esim is None or study.store is None else stage_one_users(study.store, esim, dataset, histories)
    slices = slices_of(cases, histories, users)
    chosen = {part: which for part in slices.names if (which := slices.chosen(part)).any()}
    values: dict[tuple[str, str], Values] = {}
    for key, runs in study.groups(name).items():
        tables = {seed: run.metrics.table("ranks") for seed, run in runs.items() if run.metrics is not None}
        ranks = {seed: read_ranks(table, cases) for seed, table in tables.items()}
        if ranks:
            values[key] = {
                part: {seed: case_values(of, cases.case, NDCG, which).values for seed, of in ranks.items()}
                for part, which in chosen.items()
            }
    return SlicedDataset(name, {part: len(np.unique(cases.case[which])) for part, which in chosen.items()}, values)


def _differences(study: Study, of: SlicedDataset) -> Iterator[tuple[Comparison, Difference | str]]:
    for backbone in dict.fromkeys(backbone for backbone, _ in of.values):
        for variant, base in study.pairs:
            runs, before = (of.values.get((backbone, name)) for name in (variant, base))
            if runs is None or before is None:
                continue
            for part, size in of.cases.items():
                if size >= _FEW and runs[part].keys() & before[part].keys():
                    yield Comparison(of.name, backbone, variant, base, part), seeds_difference(before[part], runs[part])


def _dataset(study: Study, of: SlicedDataset, differences: Differences) -> Markup:
    backbones = list(dict.fromkeys(backbone for backbone, _ in of.values))
    best = max(of.values, key=lambda key: _mean(of.values[key][ALL]))
    parts: list[Markup] = [tag("h3", tag("bdi", of.name)), *_plot(study, of, best[0], differences)]
    for backbone in sorted(backbones, key=lambda name: name != best[0]):
        parts.append(card(f"{backbone}: NDCG@10 by slice", _table(study, of, backbone, differences)))
    return join(*parts)


def _shown(study: Study, of: SlicedDataset, backbone: str) -> list[tuple[str, str | None]]:
    """The variants of a backbone that have room, each with its first baseline: the baselines, and the best others."""
    own = [variant for name, variant in of.values if name == backbone]
    base_of = {variant: base for variant, base in reversed(study.pairs) if base in own}
    bases = [variant for variant in own if variant in base_of.values()]
    others = sorted(
        (variant for variant in own if variant not in bases), key=lambda name: -_mean(of.values[backbone, name][ALL])
    )
    return [(name, base_of.get(name)) for name in [*bases, *others][:_MOST_VARIANTS]]


def _table(study: Study, of: SlicedDataset, backbone: str, differences: Differences) -> Markup:
    shown = _shown(study, of, backbone)
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for part, size in of.cases.items():
        cells: list[Cell] = [count(size)]
        for variant, base in shown:
            value = f"{_mean(of.values[backbone, variant][part]):.4f}"
            tested = differences.get(Comparison(of.name, backbone, variant, base or "", part))
            cells.append(marked(value, told(tested)) if isinstance(tested, Difference) else value)
        rows.append((_NAMES.get(part, part), tuple(cells)))
    return sortable(Table("slice", ("cases", *(name for name, _ in shown)), tuple(rows)), f"{backbone} on {of.name}")


def _plot(study: Study, of: SlicedDataset, backbone: str, differences: Differences) -> list[Markup]:
    """The gain of the best variant of this backbone that has a baseline, by slice."""
    with_base = [(name, base) for name, base in _shown(study, of, backbone) if base is not None]
    if not with_base:
        return []
    variant, base = max(with_base, key=lambda pair: _mean(of.values[backbone, pair[0]][ALL]))
    rows = []
    for part in of.cases:
        tested = differences.get(Comparison(of.name, backbone, variant, base, part))
        if isinstance(tested, Difference) and tested.base:
            low, high = (100 * bound / tested.base for bound in tested.interval())
            kind = {"better": 2, "worse": 1}.get(tested.verdict, 0)
            rows.append(Interval(_NAMES.get(part, part), 100 * tested.relative, low, high, kind))
    if not rows:
        return []
    said = "; ".join(f"{row.name} {row.value:+.0f} %" for row in rows)
    title = f"Gain of {backbone} {variant} over {base} in NDCG@10, by slice"
    return [intervals(title, said, rows, x="% of the baseline on the slice", zero=True)]


def _mean(of: Mapping[int, np.ndarray]) -> float:
    return float(np.mean([values.mean() for values in of.values()]))
