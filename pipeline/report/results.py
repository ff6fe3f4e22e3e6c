"""Tables of finished trainings."""

from eimf import schema
from eimf.store.artifact import Artifact
from pipeline.console import info
from pipeline.report.differences import difference
from pipeline.report.tables import Number, Table
from pipeline.report.text import format_table
from pipeline.stages.stage_two import Result

_MAX_CUTOFFS, _DEFAULT_CUTOFFS = 3, (10, 20)
"""Most cut-offs that a table shows; those that it shows if there are more."""


def metric_values(metrics: Artifact, users: str = "all") -> dict[tuple[str, int], float]:
    """Metric values of one slice of users, by name and cut-off."""
    rows = metrics.table("metrics").to_pylist()
    return {(row[schema.METRIC], row[schema.K]): row[schema.VALUE] for row in rows if row[schema.SLICE] == users}


def training_table(results: list[Result]) -> Table:
    """One row per training: NDCG and Recall at the measured cut-offs (at the usual ones if there are many), MRR at
    the last of these, the best epoch, and the seconds."""
    values = [metric_values(result.metrics) for result in results]
    cutoffs = sorted({k for name, k in values[0] if name == "ndcg"})
    if len(cutoffs) > _MAX_CUTOFFS:
        cutoffs = [k for k in cutoffs if k in _DEFAULT_CUTOFFS] or cutoffs[:_MAX_CUTOFFS]
    metrics = [(name, k) for k in cutoffs for name in ("ndcg", "recall")] + [("mrr", cutoffs[-1])]
    columns = (*(f"{name}@{k}" for name, k in metrics), "best epoch", "seconds")
    rows = []
    for result, of_result in zip(results, values, strict=True):
        took = [Number(result.checkpoint.summary_number(name), 0) for name in ("best_epoch", "seconds")]
        rows.append((result.label, (*(Number(of_result[metric]) for metric in metrics), *took)))
    return Table("", columns, tuple(rows))


def show_results(results: list[Result]) -> None:
    """Print a table of trainings."""
    info(format_table(training_table(results)))


def calibration_table(calibration: Artifact) -> Table:
    """One row for each source: what it adds to the others on validation items in nats and in NDCG@10, what it has over
    its best control, and whether it stays beside the model."""
    rows = []
    for row in calibration.table("sources").to_pylist():
        nats, ndcg, over = (
            _signed(row[value], row[error])
            for value, error in (
                (schema.NATS_GAIN, schema.NATS_ERROR),
                (schema.NDCG_GAIN, schema.NDCG_ERROR),
                (schema.OVER_CONTROL, schema.OVER_CONTROL_ERROR),
            )
        )
        rows.append(
            (
                row[schema.SOURCE],
                (nats, f"{row[schema.NATS_P]:.2g}", over, ndcg, "stays" if row[schema.WEIGHTS] else "left out"),
            )
        )
    return Table("beside the model", ("nats a user", "p", "over control", "ndcg@10", ""), tuple(rows))


def show_calibration(result: Result) -> None:
    """Print which sources stay beside the trained model, if it was calibrated."""
    if result.calibration is None:
        return
    info()
    if not result.calibration.summary_number("cases"):
        info("too few validation items to calibrate: the model is served as it was trained")
        return
    info(format_table(calibration_table(result.calibration)))
    before, after = (result.calibration.summary_number(f"valid_ndcg@10{name}") for name in ("_before", ""))
    info(f"NDCG@10 of validation items by weights of the other half of the users: {before:.4f} -> {after:.4f}")


def _signed(value: float | None, error: float | None) -> str:
    return "" if value is None else f"{value:+.4f} ± {error:.4f}"


def show_paired(base: Result, other: Result) -> None:
    """Print the difference of two trainings in NDCG@10 over the same users, and how certain it is."""
    from eimf.evaluation.rank_users import table_metric

    values = [table_metric(run.metrics.table("ranks"), "ndcg", 10) for run in (base, other)]
    paired = difference(*values)
    if isinstance(paired, str):
        info(f"{other.label} - {base.label}: {paired}, so no paired test")
        return
    low, high = paired.interval()
    certainty = f"95 % interval {low:+.4f} to {high:+.4f} over {paired.n} users, paired p = {paired.p:.2g}"
    info(f"{other.label} - {base.label}: NDCG@10 {paired.value:+.4f} ({certainty})")
