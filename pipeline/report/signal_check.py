"""The table of the signal check."""

from typing import TYPE_CHECKING

from eimf.store.artifact import Artifact
from pipeline.console import info, table

if TYPE_CHECKING:
    import torch


def show_probe(probe: Artifact) -> None:
    """One row a source: mean AUC over users, the paired difference of the LLM's interests to it, and what it adds to
    the user's own history."""
    from eimf.metrics import paired_difference
    from eimf.semantics.signal_check import HISTORY, LLM, read_auc_table

    auc_by_source = read_auc_table(probe.table("auc"))
    llm, history = auc_by_source[LLM], auc_by_source[HISTORY]

    def cells(one: "torch.Tensor", other: "torch.Tensor") -> list[str]:
        mean, error, p = paired_difference(one, other)
        return [f"{mean:+.4f} ± {error:.4f}", f"{p:.2g}"]

    rows = []
    for name, source in auc_by_source.items():
        against = ["", ""] if name == LLM else cells(source.auc, llm.auc)
        added = ["", ""] if name == HISTORY else cells(history.auc, source.auc_with_history)
        rows.append([name, f"{source.auc.mean():.4f}", *against, *added])
    table(["", "AUC", "llm minus it", "paired p", "it adds to history", "paired p"], rows)
    info("AUC of the validation item against items drawn by popularity; history: the user's own item texts, no LLM.")
