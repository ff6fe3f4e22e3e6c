"""The table of the signal check."""

from typing import TYPE_CHECKING

from eimf import schema
from eimf.store.artifact import Artifact
from pipeline.console import info
from pipeline.report.tables import Cell, Table
from pipeline.report.text import format_table

if TYPE_CHECKING:
    import pyarrow as pa

    from eimf.choice.design import Judged
    from eimf.choice.verdict import Comparison

_NOTE = (
    "What each source adds to all that are known without it: validation items among all items, by weights fitted on",
    "the other half of the users. nats: of log-probability a user. over control: more than the best of its controls,",
    "which have its form without its meaning. adds: more than nothing and than every control, in nats, p below .05.",
    "adds nothing: not so, and less than 2 % of NDCG@10 or than .01 nats, with 95 % confidence. not shown: neither.",
)


def signal_check_table(check: Artifact) -> Table:
    """One row for each source: what it adds in nats and in NDCG@10, what it has over its best control, and what that
    says."""
    rows = []
    for name, comparison in comparisons_of(check.table("gains")).items():
        cells = (comparison.nats, comparison.over_control, comparison.ndcg, comparison.verdict())
        rows.append((name, cells))
    return Table("", ("nats", "over control", "ndcg@10", "verdict"), tuple(rows))


def controls_table(check: Artifact, source: str) -> Table:
    """What each control of a source adds in its place, and what the source has over it."""
    from eimf.choice.verdict import nats_between

    gains = _of_source(check.table("gains"), source)
    own = _of_control(gains, None)
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for name in _controls(gains):
        control = _of_control(gains, name)
        cells = (nats_between(_without(control), _judged(control)), nats_between(_judged(control), _judged(own)))
        rows.append((name, cells))
    return Table("in their place", ("nats", f"{source} minus this"), tuple(rows))


def slices_table(check: Artifact, source: str) -> Table:
    """What a source adds in each group of users and items."""
    from eimf.choice.check import FREQUENCY_LIMITS, LENGTH_LIMITS, ranges
    from eimf.choice.verdict import compare

    gains = _of_control(_of_source(check.table("gains"), source), None)
    groups = {
        **ranges("target with {} training events", gains[schema.TRAIN_EVENTS].to_numpy(), FREQUENCY_LIMITS),
        **ranges("history of {} events", gains[schema.HISTORY_END].to_numpy(), LENGTH_LIMITS),
    }
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for label, cases in groups.items():
        if cases.sum() > 1:
            part = gains.filter(cases)
            comparison = compare(_without(part), _judged(part))
            rows.append((label, (f"{cases.sum():,}", comparison.nats, comparison.ndcg)))
    return Table(source, ("cases", "nats", "ndcg@10"), tuple(rows))


def comparisons_of(gains: "pa.Table") -> "dict[str, Comparison]":
    """What each source of a `gains` table adds, in the order of the table."""
    from eimf.choice.verdict import compare

    found = {}
    for name in dict.fromkeys(gains[schema.SOURCE].to_pylist()):
        part = _of_source(gains, name)
        controls = [_judged(_of_control(part, control)) for control in _controls(part)]
        best = max(controls, key=lambda control: float(control.nats.mean()), default=None)
        own = _of_control(part, None)
        found[name] = compare(_without(own), _judged(own), best)
    return found


def show_signal_check(check: Artifact) -> None:
    """Print the tables of a signal check."""
    from eimf.choice.known import INTERESTS

    if not check.summary_number("cases"):
        info("too few validation cases: nothing can be shown")
        return
    for table in (signal_check_table(check), controls_table(check, INTERESTS), slices_table(check, INTERESTS)):
        info(format_table(table))
        info()
    for line in _NOTE:
        info(line)


def _of_source(gains: "pa.Table", source: str) -> "pa.Table":
    import pyarrow.compute as compute

    return gains.filter(compute.equal(gains[schema.SOURCE], source))


def _controls(gains: "pa.Table") -> list[str]:
    return list(dict.fromkeys(gains[schema.CONTROL].drop_null().to_pylist()))


def _of_control(gains: "pa.Table", control: str | None) -> "pa.Table":
    """The rows of a control, or of the source itself."""
    import pyarrow.compute as compute

    column = gains[schema.CONTROL]
    return gains.filter(compute.is_null(column) if control is None else compute.equal(column, control))


def _judged(gains: "pa.Table") -> "Judged":
    from eimf.choice.design import Judged

    return Judged(gains[schema.NATS].to_numpy(), gains[schema.RANK].to_numpy())


def _without(gains: "pa.Table") -> "Judged":
    from eimf.choice.design import Judged

    return Judged(gains[schema.NATS_WITHOUT].to_numpy(), gains[schema.RANK_WITHOUT].to_numpy())
