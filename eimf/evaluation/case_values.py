"""Any metric at any cut-off of any slice, from the ranks of an earlier evaluation: no model is needed.

Shapes: C cases, R relevant items of all cases.
"""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from eimf import metrics, schema
from eimf.data.eval_cases import EvalCases
from eimf.errors import ArtifactError, SettingError

_METRIC = re.compile(r"([a-z_]+)@([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Metric:
    """A metric of `eimf.metrics` at a cut-off."""

    name: str
    k: int

    def __str__(self) -> str:
        return f"{self.name}@{self.k}"


@dataclass(frozen=True)
class CaseValues:
    """`values` [C] of a metric, of the cases with the numbers `case` [C], in their order."""

    case: np.ndarray
    values: np.ndarray


def parse_metric(text: str) -> Metric:
    """A metric as it is written, `ndcg@10`. Raises SettingError."""
    if (match := _METRIC.fullmatch(text)) is None or match[1] not in metrics.METRICS:
        names = ", ".join(metrics.METRICS)
        raise SettingError("metric", f"there is no {text!r}", f"write NAME@K, as in ndcg@10; the names are {names}")
    return Metric(match[1], int(match[2]))


def case_values(ranks: np.ndarray, case: np.ndarray, metric: Metric, chosen: np.ndarray | None = None) -> CaseValues:
    """A metric of the relevant items `chosen` [R] bool, by default all, over the cases that have any of them: what
    else is relevant in a case counts neither as hit nor as miss. `ranks` [R] are 1-based, and relevant item r is one of
    `case`[r]."""
    if chosen is not None:
        ranks, case = ranks[chosen], case[chosen]
    numbers, of_part = np.unique(case, return_inverse=True)
    item_ranks, of_case = (torch.from_numpy(values.astype(np.int64)) for values in (ranks, of_part))
    return CaseValues(numbers, metrics.per_case(metric.name, item_ranks, of_case, len(numbers), metric.k).numpy())


def read_ranks(table: pa.Table, cases: EvalCases) -> np.ndarray:
    """The rank [R] of every relevant item of `cases`, from `schema.RANKS`. Raises ArtifactError for another table, for
    ranks below 1, and if these are not the ranks of these cases."""
    schema.checked(table, schema.RANKS)
    wanted = {schema.CASE: cases.case, schema.USER: cases.user_idx[cases.case], schema.ITEM: cases.item_idx}
    if any(not np.array_equal(table[name].to_numpy(), column) for name, column in wanted.items()):
        raise ArtifactError("ranks", "they are not those of the test cases of their dataset", schema.REBUILD)
    ranks: np.ndarray = table[schema.RANK].to_numpy().astype(np.int64)
    if len(ranks) and ranks.min() < 1:
        raise ArtifactError("ranks", f"one is {ranks.min()}, and the best is 1", schema.REBUILD)
    return ranks
