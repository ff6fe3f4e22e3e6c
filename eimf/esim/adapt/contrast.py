"""The contrast of an adaptation: InfoNCE over all pairs among the items of a batch (van den Oord et al., 1807.03748).

L_i = - sum_j q_ij log(exp(s_ij) / (exp(s_ij) + sum_n exp(s_in))), s_ij = <x_i, x_j> / tau, for each item i with a pair
in the batch: j are its pairs, q_ij their share of its weights, and n its negatives. So several pairs of one item do not
push each other away, as in the supervised contrast of Khosla et al. (2004.11362), eq. 2, with its denominator over
negatives and the pair itself (our decision).

Shapes: B items of a batch, S width.
"""

import torch
from torch import Tensor

_NOTHING = -1e9
"""A score without weight; with minus infinity, an item without negatives would have no gradient."""


def contrast(vectors: Tensor, weights: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """The mean loss over the items with a pair. `vectors` [B, S] are unit vectors; `weights` [B, B] those of the pairs,
    0 elsewhere; `negatives` [B, B] bool. 0 without a pair."""
    scores = vectors @ vectors.T / temperature  # [B, B]
    against = scores.masked_fill(~negatives, _NOTHING).logsumexp(dim=1, keepdim=True)  # [B, 1]
    losses = torch.logaddexp(scores, against) - scores
    total = weights.sum(dim=1)
    present = total > 0
    mean = (weights * losses).sum(dim=1)[present] / total[present]
    return mean.sum() / present.sum().clamp_min(1)
