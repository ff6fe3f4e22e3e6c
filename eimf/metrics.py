"""Ranking metrics, from the 1-based ranks of relevant items; any number of them in a case.

Shapes: C cases, R relevant items of all cases.
"""

import math

import torch
from torch import Tensor

PER_CASE = ("recall", "ndcg", "hit_rate", "mrr")
"""Those that every evaluation stores."""
METRICS = (*PER_CASE, "precision", "map")
"""Names that `per_case` knows."""


def per_case(name: str, ranks: Tensor, case: Tensor, num_cases: int, k: int) -> Tensor:
    """One value for each case, [C] float64, of `ranks` [R] (1 is best), relevant item r being one of `case`[r]
    (0..C-1). With n relevant items in a case, of which those with rank at most k are hits:

    recall     hits / n
    ndcg       sum over hits of 1 / log2(rank + 1), over that of an ideal list: sum_{i=1}^{min(k, n)} 1 / log2(i + 1)
    hit_rate   1 if there is a hit, else 0
    mrr        1 / rank of the best hit, 0 without one
    precision  hits / k
    map        average precision: sum over hits of (hits down to this one / its rank), over n

    The relevant items of a case are distinct, and there is at least one. All count in n: also those beyond the first k,
    those that may not be recommended (`schema.NEVER`) and those without a training event. So with more than k relevant
    items no list has recall 1, while the best one has NDCG 1; a list that is shorter than k is one with misses at its
    end. With one relevant item, recall is hit_rate. A mean over cases gives every case the same weight, however many
    items are relevant in it. Raises ValueError for another name.
    """
    hit = (ranks <= k).double()
    relevant = torch.bincount(case, minlength=num_cases).double()
    if name == "recall":
        return _sum(hit, case, num_cases) / relevant
    if name == "ndcg":
        gain = hit / torch.log2(ranks.double() + 1)
        return _sum(gain, case, num_cases) / _ideal(relevant, k)
    if name == "hit_rate":
        return (_sum(hit, case, num_cases) > 0).double()
    if name == "mrr":
        reciprocal = torch.zeros(num_cases, dtype=torch.float64, device=ranks.device)
        return reciprocal.scatter_reduce(0, case, hit / ranks, "amax")
    if name == "precision":
        return _sum(hit, case, num_cases) / k
    if name == "map":
        return _sum(hit * _place_in_case(ranks, case, num_cases) / ranks, case, num_cases) / relevant
    raise ValueError(f"no metric {name!r}; use one of {METRICS}")


def _sum(values: Tensor, case: Tensor, num_cases: int) -> Tensor:
    return torch.zeros(num_cases, dtype=torch.float64, device=values.device).index_add(0, case, values)


def _place_in_case(ranks: Tensor, case: Tensor, num_cases: int) -> Tensor:
    """The place of each relevant item among those of its case by rank, from 1, [R]. Places of equal ranks differ: only
    `schema.NEVER` is given twice."""
    order = ranks.argsort(stable=True)
    order = order[case[order].argsort(stable=True)]
    size = torch.bincount(case, minlength=num_cases)
    before = size.cumsum(0) - size
    place = torch.empty_like(ranks)
    place[order] = torch.arange(1, len(ranks) + 1, device=ranks.device) - before[case[order]]
    return place


def _ideal(relevant: Tensor, k: int) -> Tensor:
    gains = [1 / math.log2(rank + 1) for rank in range(1, k + 1)]
    best = torch.tensor([0.0, *gains], dtype=torch.float64, device=relevant.device).cumsum(0)
    return best[relevant.clamp(max=k).long()]


def coverage(exposure: Tensor) -> float:
    """Share of items that were recommended at all; `exposure` [N] counts how often each was."""
    return float((exposure > 0).double().mean())


def gini(exposure: Tensor) -> float:
    """Gini index of the exposure [N]: 0 if all items are recommended equally often, or none is; near 1 if one gets
    all."""
    if not exposure.any():
        return 0.0
    ascending = exposure.double().sort().values
    order = torch.arange(1, len(ascending) + 1, dtype=torch.float64, device=exposure.device)
    return float((2 * order - len(ascending) - 1) @ ascending / (len(ascending) * ascending.sum()))
