"""What the LLM's interests say that is not known without them: the signal check, the calibrations, and the controls."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eimf import schema
from eimf.choice.check import CheckedSource
from eimf.choice.known import INTERESTS
from eimf.choice.verdict import nats_between
from eimf.errors import ArtifactError
from eimf.statistics import Difference
from eimf.store.artifact import Artifact
from pipeline.report.differences import Comparison, Differences
from pipeline.report.html.compared import against_controls, counted, p_value, signed, told
from pipeline.report.html.document import Section, card, verdict
from pipeline.report.html.plots import Interval, intervals
from pipeline.report.html.runs import Run, Study
from pipeline.report.html.tables import sortable
from pipeline.report.markup import Markup, join, tag
from pipeline.report.signal_check import read_gains, slices_table
from pipeline.report.tables import Cell, Number, Table

_KIND = "signal_check"
_MOST_OPEN = 12
"""Rows of a table that is not folded."""
_WORDS = {"adds": "good", "adds nothing": "bad"}
SAID = {"adds": "add something", "adds nothing": "add nothing", "not shown": "are not shown to add anything"}
_CHECK_NOTE = (
    "Signal check: how much better each source predicts the next item of validation cases, beside all others, by "
    "weights fitted on the other half of the users. Nats of log-probability a user, with 95 % intervals. A control has "
    "the form of its source without the meaning, such as the interests of another cluster: what the source has over "
    "it is what its meaning adds. Adds: more than nothing and more than every control. Adds nothing: not so, and less "
    "than 2 % of NDCG@10 or .01 nats. Not shown: neither."
)


def signal_section(study: Study, differences: Differences) -> tuple[Section | None, list[str]]:
    """The section, or None if nothing was checked, calibrated or controlled; and in words what it lacks."""
    parts: list[Markup] = []
    problems: list[str] = []
    for name in study.names:
        found, lacking = _dataset(study, name)
        problems += lacking
        if found:
            parts += [tag("h3", tag("bdi", name)), *found]
    if parts:
        parts.append(tag("p", _CHECK_NOTE, class_="note"))
    parts += _controls(study, differences)
    if not parts:
        return None, ["Signal check, calibrations and controls: the store has none of these trainings.", *problems]
    return Section("signal", "What the LLM adds", join(*parts)), problems


def _dataset(study: Study, name: str) -> tuple[list[Markup], list[str]]:
    parts: list[Markup] = []
    problems: list[str] = []
    checks = list(_checks(study, name))
    if not checks and name in study.datasets:
        problems.append(f"Signal check of {name}: none in the store; `eimf check` makes it in seconds.")
    for check in checks:
        try:
            parts += _check(check)
        except (ArtifactError, ValueError) as error:
            problems.append(f"Signal check {check.short}: {error}")
    calibrated = [run for run in study.runs if run.dataset == name and run.calibration is not None]
    try:
        parts += _calibrations(calibrated)
    except ArtifactError as error:
        problems.append(f"Calibrations on {name}: {error}")
    return parts, problems


def _checks(study: Study, name: str) -> Iterator[Artifact]:
    """The newest check of each ESIM artifact of a dataset, those beside a checkpoint left out."""
    dataset = study.datasets.get(name)
    if dataset is None or study.store is None:
        return
    newest: dict[str, Artifact] = {}
    for kind, key in study.store.listing():
        if kind == _KIND and (check := study.store.find(kind, key)) is not None:
            parents = check.manifest.parents
            if parents.get("dataset") == dataset.key and "checkpoint" not in parents:
                of = parents.get("esim", "")
                if of not in newest or newest[of].manifest.created < check.manifest.created:
                    newest[of] = check
    yield from newest.values()


def interests_checked(study: Study) -> dict[str, str]:
    """The verdict on the interests by dataset, of the check of the ESIM artifact that most trainings read."""
    said: dict[str, str] = {}
    for name in study.names:
        esim = study.esim(name)
        for check in _checks(study, name):
            try:
                if (
                    esim is not None
                    and check.manifest.parents.get("esim") == esim.key
                    and check.summary_number("cases")
                ):
                    sources = read_gains(check.table("gains"))
                    if INTERESTS in sources:
                        said[name] = sources[INTERESTS].comparison.verdict()
            except (ArtifactError, ValueError):  # the section of the check says why
                continue
    return said


def _check(check: Artifact) -> list[Markup]:
    if not check.summary_number("cases"):
        return [tag("p", "Signal check: too few validation cases to show anything.")]
    gains = check.table("gains")
    sources = read_gains(gains)
    plot = _sources_plot(sources, f"What each source adds to all others ({int(check.summary_number('cases')):,} users)")
    table = sortable(_sources_table(sources), "Sources of the signal check", text_columns=1)
    parts = [tag("p", _sentence(sources)), plot, table]
    if INTERESTS in sources:
        slices = sortable(slices_table(check, INTERESTS), "What the interests add, by slice")
        parts.append(card("What the interests add, by slice", slices))
    return parts


def _sentence(sources: Mapping[str, CheckedSource]) -> str:
    """The verdict on the interests, in words."""
    if INTERESTS not in sources:
        return "The interests were not checked."
    of = sources[INTERESTS].comparison
    low, high = of.nats.interval()
    line = f"The LLM's interests {SAID[of.verdict()]}. With them, all other sources predict better by "
    line += f"{signed(of.nats.value)} nats a user (95 % interval {signed(low)} to {signed(high)})"
    if of.control is None or of.over_control is None:
        return f"{line}."
    low, high = of.over_control.interval()
    return (
        f"{line}; with the best control in their place by {signed(of.control.value)}. The difference of the two is "
        f"{signed(of.over_control.value)} ({signed(low)} to {signed(high)}). "
        f"NDCG@10 changes by {signed(of.ndcg.value)}."
    )


def _sources_plot(sources: Mapping[str, CheckedSource], title: str) -> Markup:
    """Sources, and below each its controls: the same scale for all, so that what is small looks small."""
    rows = []
    for name, source in sources.items():
        rows.append(_interval(name, nats_between(source.without, source.with_source), 0))
        for control, judged in source.controls.items():
            rows.append(_interval(f"control: {control}", nats_between(source.without, judged), 1))
    said = "; ".join(f"{row.name} {signed(row.value)}" for row in rows)
    return intervals(title, said, rows, x="nats a user", zero=True)


def _interval(name: str, of: Difference, number: int) -> Interval:
    return Interval(name, of.value, *of.interval(), number)


def _sources_table(sources: Mapping[str, CheckedSource]) -> Table:
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for name, source in sources.items():
        of = source.comparison
        word = of.verdict()
        cells = (_signed(of.nats), _p(of.nats), _signed(of.over_control), _p(of.over_control), _signed(of.ndcg))
        rows.append((name, (*cells, verdict(word, _WORDS.get(word, "open")))))
    columns = ("nats", "p", "over best control", "p of this", "NDCG@10", "in words")
    return Table("source", columns, tuple(rows))


def _signed(of: Difference | None) -> Cell:
    return None if of is None else signed(of.value)


def _p(of: Difference | None) -> Cell:
    return None if of is None else p_value(of.p)


def _calibrations(runs: Sequence[Run]) -> list[Markup]:
    """In how many trained models each source stayed, and what it added to these. Raises ArtifactError."""
    if not runs:
        return []
    tables = [(run, run.calibration.table("sources").to_pylist()) for run in runs if run.calibration is not None]
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for source in dict.fromkeys(row[schema.SOURCE] for _, of_run in tables for row in of_run):
        of_source = [row for _, of_run in tables for row in of_run if row[schema.SOURCE] == source]
        stays = sum(bool(row[schema.WEIGHTS]) for row in of_source)
        means = [_mean_of(of_source, name) for name in (schema.NATS_GAIN, schema.OVER_CONTROL, schema.NDCG_GAIN)]
        rows.append((source, (Number(len(of_source), 0), Number(stays, 0), *means)))
    columns = ("models", "stays in", "nats", "over control", "NDCG@10")
    whole = sortable(Table("source", columns, tuple(rows)), "Calibration: what each source adds beside a trained model")
    models = sortable(_by_model(tables), "Sources by model, nats a user", text_columns=0)
    note = (
        "Means over models and seeds, on validation cases by weights of the other half of the users. A source stays if "
        "it adds to the model and to the other sources, and more than its control."
    )
    return [tag("h4", "Calibration"), whole, tag("p", note, class_="note"), card("By model", models)]


def _mean_of(rows: Sequence[Mapping[str, float | None]], name: str) -> Cell:
    values = [value for row in rows if (value := row[name]) is not None and np.isfinite(value)]
    return Number(float(np.mean(values))) if values else None


def _by_model(tables: Sequence[tuple[Run, list[dict[str, float | None]]]]) -> Table:
    """Nats of each source, mean over seeds; empty if it was dropped from all."""
    sources = list(dict.fromkeys(str(row[schema.SOURCE]) for _, rows in tables for row in rows))
    models: dict[str, list[dict[str, float | None]]] = {}
    for run, of_run in tables:
        models.setdefault(run.model, []).extend(of_run)
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for model, of_model in models.items():
        of_sources = [[row for row in of_model if row[schema.SOURCE] == source] for source in sources]
        rows.append((model, tuple(_mean_of(part, schema.NATS_GAIN) for part in of_sources)))
    return Table("model", tuple(sources), tuple(rows))


def _controls(study: Study, differences: Differences) -> list[Markup]:
    """Comparisons with a training that has a control in the place of the LLM's interests."""
    found = against_controls(study, differences)
    if not found:
        return []
    rows = tuple((f"{key.model} minus {key.base}", _control_cells(key, of)) for key, of in found.items())
    columns = ("dataset", "NDCG@10", "95 % interval", "p, corrected", "in words")
    table = sortable(Table("", columns, rows), "Trainings against controls", text_columns=1)
    words = ", ".join(f"{number} {word}" for word, number in counted(found.values()).items() if number)
    every = f"All {len(found)} comparisons: {words}" if words else f"All {len(found)} comparisons"
    note = (
        "A control has another cluster's interests, random vectors, titles or the cluster's number in place of what "
        "the LLM inferred. If the LLM's words matter, the training with them is better than the one with a control."
    )
    title = tag("h3", "Trainings with a control in place of the interests")
    return [title, tag("p", note, class_="note"), card(every, table) if len(rows) > _MOST_OPEN else table]


def _control_cells(key: Comparison, of: Difference | str) -> tuple[Cell, ...]:
    if isinstance(of, str):
        return key.dataset, None, None, None, of
    low, high = of.interval()
    return key.dataset, signed(of.value), f"{signed(low)} to {signed(high)}", p_value(of.p), told(of)
