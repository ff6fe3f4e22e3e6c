"""Tables of finished metrics."""

from typing import TYPE_CHECKING

from eimf import schema
from eimf.store.artifact import Artifact
from pipeline.console import info, table
from pipeline.stages.stage_two import Result

if TYPE_CHECKING:
    pass

_COLUMNS, _USUAL = 3, (10, 20)
"""Most cut-offs that a table shows; those shown of more."""


def values(metrics: Artifact, chosen: str = "all") -> dict[tuple[str, int], float]:
    """Metric values of one slice of users, by name and cut-off."""
    rows = metrics.table("metrics").to_pylist()
    return {(row[schema.METRIC], row[schema.K]): row[schema.VALUE] for row in rows if row[schema.SLICE] == chosen}


def show_results(results: list[Result]) -> None:
    """One row a training, NDCG and Recall at the cut-offs that were measured, or the usual of them, and MRR at the last
    of these."""
    found = [values(result.metrics) for result in results]
    cutoffs = sorted({k for name, k in found[0] if name == "ndcg"})
    if len(cutoffs) > _COLUMNS:
        cutoffs = [k for k in cutoffs if k in _USUAL] or cutoffs[:_COLUMNS]
    shown = [(name, k) for k in cutoffs for name in ("ndcg", "recall")] + [("mrr", cutoffs[-1])]
    header = ["", *[f"{name}@{k}" for name, k in shown], "best epoch", "seconds"]
    rows = []
    for result, each in zip(results, found, strict=True):
        numbers = [f"{each[name]:.4f}" for name in shown]
        rows.append(
            [result.label, *numbers, *(f"{result.checkpoint.fact(name):.0f}" for name in ("best_epoch", "seconds"))]
        )
    table(header, rows)


def show_paired(plain: Result, other: Result) -> None:
    """Mean difference of NDCG@10 over the same users, with its standard error and the paired p."""
    from eimf.evaluation.rank_users import table_metric
    from eimf.metrics import paired_difference

    ndcg = [table_metric(result.metrics.table("ranks"), "ndcg", 10) for result in (plain, other)]
    mean, spread, p = paired_difference(*ndcg)
    certainty = f"standard error {spread:.4f} over users, paired p = {p:.2g}"
    info(f"{other.label} - {plain.label}: NDCG@10 {mean:+.4f} ({certainty})")
