"""Two trainings over the same users."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.api.call import call, same_store
from pipeline.api.display import table_html, titled_html
from pipeline.api.training import Trained

if TYPE_CHECKING:
    from eimf.evaluation.compare import Bootstrap
    from pipeline.report.comparison import Compared

_SAMPLES = 10_000


@dataclass(frozen=True, eq=False)
class Comparison:
    """B minus A by metric and slice, with intervals, tests and effect sizes."""

    compared: Sequence["Compared"]
    bootstrap: "Bootstrap"

    @property
    def table(self) -> pa.Table:
        """A row for each metric and slice, as `eimf compare --json` has them."""
        from pipeline.report.comparison import comparison_json

        return pa.Table.from_pylist(json.loads(comparison_json(self.compared, self.bootstrap))["rows"])

    def __repr__(self) -> str:
        from pipeline.report.comparison import comparison_text

        return comparison_text(self.compared, self.bootstrap)

    def _repr_html_(self) -> str:
        from pipeline.report.comparison import comparison_notes, comparison_table

        pair, table = self.compared[0].pair, table_html(comparison_table(self.compared))
        notes = comparison_notes(self.compared, self.bootstrap)
        return titled_html(f"A: {pair.base.label}; B: {pair.other.label}", [table], notes)


def compare(
    base: Trained | Sequence[Trained],
    other: Trained | Sequence[Trained],
    *,
    metrics: str | Sequence[str] = "ndcg@10",
    slices: str | Sequence[str] = "all",
    samples: int = _SAMPLES,
    progress: bool = True,
) -> Comparison:
    """`other` minus `base` over the same users, from their stored ranks; give several of each for several seeds.

    `metrics` are NAME@K, `slices` names such as `history:short`, groups such as `history`, or `every`
    (`eimf.evaluation.slices`). `samples` is the number of bootstrap samples. p is adjusted by Holm for all rows. Raises
    the errors of `eimf compare`.

    >>> compared = api.compare(plain, wide, metrics=["ndcg@10", "recall@5"], slices="history")
    >>> compared.table.select(["metric", "slice"]).to_pylist()[1]
    {'metric': 'ndcg@10', 'slice': 'history:long'}
    """
    with call("compare", progress):
        from eimf.evaluation.case_values import parse_metric
        from eimf.evaluation.compare import Bootstrap
        from pipeline.commands.compare import compare_pairs
        from pipeline.ranked import pair_of

        bases, others = ([side] if isinstance(side, Trained) else list(side) for side in (base, other))
        store = same_store([trained.data.store for trained in (*bases, *others)])
        esim = next((trained.esim for trained in (*others, *bases) if trained.esim), None)
        bootstrap = Bootstrap(samples=samples)
        wanted = [parse_metric(text) for text in _list(metrics)]
        pair = pair_of(store, _metrics_keys(bases), _metrics_keys(others), esim)
        return Comparison(compare_pairs([pair], wanted, _list(slices), bootstrap), bootstrap)


def _metrics_keys(trainings: Sequence[Trained]) -> list[str]:
    return [trained.result.metrics.key for trained in trainings]


def _list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(dict.fromkeys(names))
