"""The command `compare`: two trainings by any metric and slice, from their stored ranks."""

from collections.abc import Sequence
from pathlib import Path

from eimf.errors import SettingError
from eimf.evaluation.case_values import Metric, parse_metric
from eimf.evaluation.compare import Bootstrap, compare_ranks, corrected
from eimf.evaluation.slices import ALL
from eimf.store.artifact import Store
from pipeline.console import info
from pipeline.ranked import Pair, pair_of
from pipeline.report.comparison import Compared, comparison_json, comparison_text
from pipeline.sweeps.pairs import pairs_of_results

_METRIC = "ndcg@10"


def run_compare(
    store: Store,
    base: str,
    other: str,
    metrics: Sequence[str],
    slices: Sequence[str],
    *,
    results: Path | None = None,
    esim: str | None = None,
    samples: int,
    as_json: bool,
) -> None:
    """Print `other` minus `base`: keys with commas between those of several seeds, or variants of the sweep whose
    `results` are in a folder."""
    wanted = [parse_metric(text) for text in dict.fromkeys(metrics or [_METRIC])]
    if results is None:
        pairs = [pair_of(store, base.split(","), other.split(","), esim)]
    else:
        pairs = pairs_of_results(results, base, other, store, esim)
    bootstrap = Bootstrap(samples=samples)
    compared = compare_pairs(pairs, wanted, slices or [ALL], bootstrap)
    info((comparison_json if as_json else comparison_text)(compared, bootstrap))


def compare_pairs(
    pairs: Sequence[Pair], metrics: Sequence[Metric], slices: Sequence[str], bootstrap: Bootstrap
) -> list[Compared]:
    """The comparisons of each pair, p adjusted by Holm for all of them together. Raises SettingError for an unknown
    slice, and for a cut-off beyond the ranks of a pair."""
    for pair in pairs:
        for metric in metrics:
            if pair.largest_k is not None and metric.k > pair.largest_k:
                problem = f"{metric} of {pair.label}, of which only ranks up to {pair.largest_k} are kept"
                raise SettingError("metric", problem, "use a smaller cut-off, or the store that has its metrics")
    rows = [
        compare_ranks(
            pair.base.runs, pair.other.runs, pair.cases, pair.slices, metrics, pair.slices.expanded(slices), bootstrap
        )
        for pair in pairs
    ]
    adjusted = iter(corrected([row for of_pair in rows for row in of_pair]))
    return [Compared(pair, [next(adjusted) for _ in of_pair]) for pair, of_pair in zip(pairs, rows, strict=True)]
