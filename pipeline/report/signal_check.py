"""The table of the signal check."""

from typing import TYPE_CHECKING

from eimf import schema
from eimf.store.artifact import Artifact
from pipeline.console import info
from pipeline.report.tables import Cell, Table
from pipeline.report.text import format_table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from eimf.choice.verdict import Comparison

_NOTE = """\ What each source adds to all that are known without it, for validation items among all items, by weights
that were fitted on the other half of the users. nats: of log-probability a user; over control: more than the same
source, shuffled. adds: more than nothing and than its control, in nats, p below .05. adds nothing: less than 2 % of
NDCG@10, with 95 % confidence. not shown: too few users to say either."""


def signal_check_table(check: Artifact) -> Table:
    """One row for each source: what it adds in nats and in NDCG@10, what its control adds, and what that says."""
    rows = []
    for name, comparison in comparisons_of(check.table("gains")).items():
        cells = (comparison.nats, comparison.over_control, comparison.ndcg, comparison.verdict())
        rows.append((name, cells))
    return Table("", ("nats", "nats over control", "ndcg@10", "verdict"), tuple(rows))


def slices_table(check: Artifact, source: str) -> Table:
    """What a source adds in each group of users and items."""
    from eimf.choice.check import FREQUENCY_LIMITS, LENGTH_LIMITS, ranges

    gains = _rows(check.table("gains"), source)
    groups = {
        **ranges("target with {} training events", gains[schema.TRAIN_EVENTS].to_numpy(), FREQUENCY_LIMITS),
        **ranges("history of {} events", gains[schema.HISTORY_END].to_numpy(), LENGTH_LIMITS),
    }
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for label, cases in groups.items():
        if cases.sum() > 1:
            comparison = _comparison(gains, cases)
            rows.append((label, (f"{cases.sum():,}", comparison.nats, comparison.ndcg)))
    return Table(source, ("cases", "nats", "ndcg@10"), tuple(rows))


def comparisons_of(gains: "pa.Table") -> "dict[str, Comparison]":
    """What each source of a `gains` table adds, in the order of the table."""
    names = dict.fromkeys(gains[schema.SOURCE].to_pylist())
    return {name: _comparison(_rows(gains, name)) for name in names}


def show_signal_check(check: Artifact) -> None:
    """Print the tables of a signal check."""
    from eimf.choice.known import INTERESTS

    info(format_table(signal_check_table(check)))
    info(_NOTE)
    info()
    info(format_table(slices_table(check, INTERESTS)))


def _rows(gains: "pa.Table", source: str) -> "pa.Table":
    import pyarrow.compute as compute

    return gains.filter(compute.equal(gains[schema.SOURCE], source))


def _comparison(gains: "pa.Table", cases: "np.ndarray | slice" = slice(None)) -> "Comparison":
    from eimf.choice.design import Judged
    from eimf.choice.verdict import compare

    columns = {name: gains[name].to_numpy()[cases] for name in gains.column_names if name != schema.SOURCE}
    without = Judged(columns[schema.NATS_WITHOUT], columns[schema.RANK_WITHOUT])
    control = None if gains[schema.NATS_CONTROL].null_count else Judged(columns[schema.NATS_CONTROL], without.rank)
    return compare(without, Judged(columns[schema.NATS], columns[schema.RANK]), control)
