"""The table of the signal check."""

from eimf.store.artifact import Artifact
from pipeline.console import info
from pipeline.report.tables import Number, Table, difference
from pipeline.report.text import format_table

_NOTE = "AUC of the validation item against items drawn by popularity; history: the user's own item texts, no LLM."


def signal_check_table(check: Artifact) -> Table:
    """One row per source: its mean AUC over users, the LLM's interests minus it, and what it adds to the user's own
    history."""
    from eimf.semantics.signal_check import HISTORY, read_readings

    auc_by_source = read_readings(check.table("readings"))
    llm, history = auc_by_source["true"].alone, auc_by_source[HISTORY].alone
    rows = []
    for name, source in auc_by_source.items():
        below_llm = None if name == "true" else difference(source.alone, llm)
        gain = None if name == HISTORY else difference(history, source.with_history)
        rows.append((name, (Number(float(source.alone.mean())), below_llm, gain)))
    return Table("", ("AUC", "true minus it", "it adds to history"), tuple(rows))


def show_probe(check: Artifact) -> None:
    """Print the table of a signal check."""
    info(format_table(signal_check_table(check)))
    info(_NOTE)
