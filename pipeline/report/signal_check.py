"""The table of the signal check."""

from eimf.store.artifact import Artifact
from pipeline.console import info
from pipeline.report.tables import Number, Table, difference
from pipeline.report.text import format_table

_NOTE = "AUC of the validation items against items drawn by popularity; history: the user's own item texts, no LLM."


def signal_check_table(check: Artifact) -> Table:
    """One row per source: its mean AUC over users, the LLM's AUC minus that, and its gain over the user's history."""
    from eimf.semantics.signal_check import HISTORY, LLM, mean_by_user, read_auc_table

    users, auc_by_target = read_auc_table(check.table("auc"))
    auc_by_source = mean_by_user(auc_by_target, users)
    llm, history = auc_by_source[LLM].auc, auc_by_source[HISTORY].auc
    rows = []
    for name, source in auc_by_source.items():
        llm_advantage = None if name == LLM else difference(source.auc, llm)
        gain = None if name == HISTORY else difference(history, source.auc_with_history)
        rows.append((name, (Number(float(source.auc.mean())), llm_advantage, gain)))
    return Table("", ("AUC", "llm minus source", "gain over history"), tuple(rows))


def show_signal_check(check: Artifact) -> None:
    """Print the table of a signal check."""
    info(format_table(signal_check_table(check)))
    info(_NOTE)
