"""The table of the signal check."""

from typing import TYPE_CHECKING

from eimf import schema
from eimf.store.artifact import Artifact
from pipeline.console import info
from pipeline.report.tables import Cell, Table
from pipeline.report.text import format_table

if TYPE_CHECKING:
    import pyarrow as pa

    from eimf.choice.check import CheckedSource

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
    for name, source in read_gains(check.table("gains")).items():
        comparison = source.comparison
        cells = (comparison.nats, comparison.over_control, comparison.ndcg, comparison.verdict())
        rows.append((name, cells))
    return Table("", ("nats", "over control", "ndcg@10", "verdict"), tuple(rows))


def controls_table(check: Artifact, source: str) -> Table:
    """What each control of a source adds in its place, and what the source has over it."""
    from eimf.choice.verdict import nats_between

    checked = read_gains(check.table("gains"))[source]
    rows: list[tuple[str, tuple[Cell, ...]]] = [
        (name, (nats_between(checked.without, control), nats_between(control, checked.with_source)))
        for name, control in checked.controls.items()
    ]
    return Table("in their place", ("nats", f"{source} minus this"), tuple(rows))


def slices_table(check: Artifact, source: str) -> Table:
    """What a source adds in each group of users and items."""
    from eimf.choice.check import FREQUENCY_LIMITS, LENGTH_LIMITS, ranges

    gains = _of(_of(check.table("gains"), schema.SOURCE, source), schema.CONTROL, None)
    groups = {
        **ranges("target with {} training events", gains[schema.TRAIN_EVENTS].to_numpy(), FREQUENCY_LIMITS),
        **ranges("history of {} events", gains[schema.HISTORY_END].to_numpy(), LENGTH_LIMITS),
    }
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for label, cases in groups.items():
        if cases.sum() > 1:
            comparison = read_gains(gains.filter(cases))[source].comparison
            rows.append((label, (f"{cases.sum():,}", comparison.nats, comparison.ndcg)))
    return Table(source, ("cases", "nats", "ndcg@10"), tuple(rows))


def read_gains(gains: "pa.Table") -> "dict[str, CheckedSource]":
    """The sources of `schema.SOURCE_GAINS`, in the order of the table."""
    from eimf.choice.check import CheckedSource
    from eimf.choice.design import Judged

    def judged(rows: "pa.Table") -> Judged:
        return Judged(rows[schema.NATS].to_numpy(), rows[schema.RANK].to_numpy())

    found = {}
    for name in _distinct(gains, schema.SOURCE):
        part = _of(gains, schema.SOURCE, name)
        own = _of(part, schema.CONTROL, None)
        without = Judged(own[schema.NATS_WITHOUT].to_numpy(), own[schema.RANK_WITHOUT].to_numpy())
        controls = {control: judged(_of(part, schema.CONTROL, control)) for control in _distinct(part, schema.CONTROL)}
        found[name] = CheckedSource(without, judged(own), controls)
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
    nats, error = (check.summary_number(name) for name in ("nats", "standard_error"))
    info(f"the interests: {check.manifest.summary['interests']} ({nats:+.4f} ± {error:.4f} nats a user)")


def _distinct(gains: "pa.Table", column: str) -> list[str]:
    return list(dict.fromkeys(gains[column].drop_null().to_pylist()))


def _of(gains: "pa.Table", column: str, value: str | None) -> "pa.Table":
    """The rows with this value."""
    import pyarrow.compute as compute

    values = gains[column]
    return gains.filter(compute.is_null(values) if value is None else compute.equal(values, value))
