"""Conditional logit: few weights that say how much each of several scores counts when a person chooses an item.

The chosen item of a case competes with all others: p(j) = softmax_j(sum_f w_f x_fj). The log-likelihood is concave, so
Newton's method finds the one best w; a small penalty keeps it finite.

Shapes: C cases, c cases of a block, N items, F scores of an item.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

_STEPS, _ENOUGH = 30, 1e-6


@dataclass(frozen=True)
class Block:
    """A few cases: `scores` [c, F, N] float32, the row of the `chosen` item [c] from 0, and the items that cannot be
    chosen, `excluded_case` and `excluded_row` [X]."""

    scores: np.ndarray
    chosen: np.ndarray
    excluded_case: np.ndarray
    excluded_row: np.ndarray

    def total(self, weights: np.ndarray) -> np.ndarray:
        """The weighted sum of the scores, [c, N]; -inf for what is excluded."""
        total: np.ndarray = np.matmul(weights.astype(self.scores.dtype), self.scores)
        total[self.excluded_case, self.excluded_row] = -np.inf
        return total


Blocks = Callable[[], Iterator[Block]]
"""Gives all cases, each time it is called."""


def fit_logit(
    blocks: Blocks, free: np.ndarray, *, penalty: float = 1e-3, begin: np.ndarray | None = None
) -> np.ndarray:
    """The weights [F] with the largest mean log-likelihood minus `penalty` |w|^2, by Newton's method; a step that does
    not gain is halved. Weights that are not `free` [F] stay 0. `begin` [F], a guess, saves steps."""
    return fit_curved(blocks, free, penalty=penalty, begin=begin)[0]


def fit_curved(
    blocks: Blocks, free: np.ndarray, *, penalty: float = 1e-3, begin: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The same weights [F], and minus the second derivative there, [F, F]."""
    weights, step = np.zeros(len(free)) if begin is None else begin * free, np.zeros(len(free))
    best, curvature = -np.inf, np.eye(len(free))
    for _ in range(_STEPS):
        value, gradient, curved = _derivatives(blocks(), weights + step, penalty)
        if value > best:
            gain, best, weights, curvature = value - best, value, weights + step, curved
            step = np.zeros(len(free))
            step[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
        else:
            gain, step = np.inf, step / 2
        if gain < _ENOUGH or np.abs(step).max() < _ENOUGH or float(step @ curvature @ step) < _ENOUGH:
            break
    return weights, curvature


def without(weights: np.ndarray, curvature: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """What the other weights would be without those `left_out` [F], from the second derivative at the best weights:
    close to what a fit of its own would give, if they count little."""
    kept = (weights != 0) & ~left_out
    result = np.zeros(len(weights))
    coupling = curvature[np.ix_(kept, left_out)] @ weights[left_out]
    result[kept] = weights[kept] + np.linalg.solve(curvature[np.ix_(kept, kept)], coupling)
    return result


def ranks(blocks: Blocks, weights: np.ndarray) -> np.ndarray:
    """The rank of the chosen item of each case among those that can be chosen, [C], from 1; of equal scores the item
    with the smaller number is first, as it is served."""
    parts = []
    for block in blocks():
        total, chosen = block.total(weights), block.chosen[:, None]
        score = np.take_along_axis(total, chosen, axis=1)
        first = (total > score) | ((total == score) & (np.arange(total.shape[1]) <= chosen))
        parts.append(first.sum(axis=1))
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def ndcg_of(ranks_of_cases: np.ndarray, cutoff: int = 10) -> np.ndarray:
    """NDCG at the cutoff of each case, which has one relevant item, [C]."""
    ndcg: np.ndarray = np.where(ranks_of_cases <= cutoff, 1 / np.log2(ranks_of_cases + 1), 0)
    return ndcg


def _derivatives(blocks: Iterator[Block], weights: np.ndarray, penalty: float) -> tuple[float, np.ndarray, np.ndarray]:
    """The penalised mean log-likelihood, its gradient [F], and minus its second derivative [F, F]."""
    value, cases = 0.0, 0
    gradient, curvature = np.zeros(len(weights)), np.zeros((len(weights),) * 2)
    for block in blocks:
        rows, scores, total = np.arange(len(block.chosen)), block.scores, block.total(weights)
        total -= total.max(axis=1, keepdims=True)
        share = np.exp(total)
        sums = share.sum(axis=1, keepdims=True)
        share /= sums
        value += float((total[rows, block.chosen] - np.log(sums[:, 0])).sum(dtype=np.float64))
        mean = np.matmul(scores, share[:, :, None])[:, :, 0].astype(np.float64)  # [c, F]
        gradient += (scores[rows, :, block.chosen] - mean).sum(axis=0, dtype=np.float64)
        spread = np.matmul(scores * share[:, None, :], scores.transpose(0, 2, 1))  # [c, F, F]
        curvature += spread.sum(axis=0, dtype=np.float64) - mean.T @ mean
        cases += len(rows)
    gradient = gradient / max(cases, 1) - 2 * penalty * weights
    curvature = curvature / max(cases, 1) + 2 * penalty * np.eye(len(weights))
    return value / max(cases, 1) - penalty * float(weights @ weights), gradient, curvature
