"""Ranking metrics, from 1-based ranks of relevant items; any number of them a user.

Shapes: R relevant items of all users, U users. `owner` [R] is each one's user, 0..U-1.
"""

import math

import torch
from torch import Tensor

PER_USER = ("recall", "ndcg", "hit_rate", "mrr")
"""Names that `per_user` knows."""


def per_user(name: str, ranks: Tensor, owner: Tensor, users: int, k: int) -> Tensor:
    """One value a user [U] float64. `ranks` [R] are 1-based; within a user they are distinct.

    recall: found in the top k over all relevant. ndcg: discounted gain 1 / log2(rank + 1) over that of an ideal
    list of min(k, relevant). hit_rate: 1 where anything is found. mrr: 1 / rank of the first found. Raises
    ValueError.
    """
    found = (ranks <= k).double()
    relevant = torch.bincount(owner, minlength=users).double()
    if name == "recall":
        return _sum(found, owner, users) / relevant
    if name == "ndcg":
        gain = found / torch.log2(ranks.double() + 1)
        return _sum(gain, owner, users) / _ideal(relevant, k)
    if name == "hit_rate":
        return (_sum(found, owner, users) > 0).double()
    if name == "mrr":
        reciprocal = torch.zeros(users, dtype=torch.float64, device=ranks.device)
        return reciprocal.scatter_reduce(0, owner, found / ranks, "amax")
    raise ValueError(f"no metric {name!r}; use one of {PER_USER}")


def _sum(values: Tensor, owner: Tensor, users: int) -> Tensor:
    return torch.zeros(users, dtype=torch.float64, device=values.device).index_add(0, owner, values)


def _ideal(relevant: Tensor, k: int) -> Tensor:
    gains = [1 / math.log2(place + 2) for place in range(k)]
    best = torch.tensor([0.0, *gains], dtype=torch.float64, device=relevant.device).cumsum(0)
    return best[relevant.clamp(max=k).long()]


def coverage(exposure: Tensor) -> float:
    """Share of items shown to anyone; `exposure` [N] counts how often each was."""
    return float((exposure > 0).double().mean())


def gini(exposure: Tensor) -> float:
    """Gini index of the exposure [N]: 0 if every item is shown equally often or none at all, near 1 if one gets all."""
    if not exposure.any():
        return 0.0
    ordered = exposure.double().sort().values
    place = torch.arange(1, len(ordered) + 1, dtype=torch.float64, device=exposure.device)
    return float((2 * place - len(ordered) - 1) @ ordered / (len(ordered) * ordered.sum()))


def paired_difference(a: Tensor, b: Tensor) -> tuple[float, float, float]:
    """Mean of b - a over users, its standard error, and the two-sided p of the paired test.

    p is from the normal limit of the paired t statistic: for hundreds of users and more. p is 1, and the error 0, where
    all users differ alike.
    """
    difference = b.double() - a.double()
    spread = difference.std() if len(difference) > 1 else 0.0
    mean, error = float(difference.mean()), float(spread / math.sqrt(len(difference)))
    p = math.erfc(abs(mean) / error / math.sqrt(2)) if error > 0 else 1.0
    return mean, error, p
