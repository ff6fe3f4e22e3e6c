"""In-batch contrast between two modalities, with false negatives masked (METHOD, L_align and fault 8).

Shapes: P anchors, U candidates, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(
    anchors: Tensor, candidates: Tensor, positive: Tensor, anchor_group: Tensor, candidate_group: Tensor,
    temperature: float, weight: Tensor,
) -> Tensor:  # fmt: skip
    """Weighted mean of -log softmax(cos(anchor, candidate) / temperature)[positive].

    `anchors` [P, D], `candidates` [U, D], `positive` [P] each anchor's candidate. A candidate of the anchor's own
    group (`anchor_group` [P], `candidate_group` [U]) other than the positive is no negative and is left out.
    `weight` [P] sums to 1.
    """
    scores = F.normalize(anchors, dim=1) @ F.normalize(candidates, dim=1).T / temperature  # [P, U]
    own = anchor_group.unsqueeze(1) == candidate_group.unsqueeze(0)
    own = own.scatter(1, positive.unsqueeze(1), False)
    scores = scores.masked_fill(own, -torch.inf)
    return (weight * F.cross_entropy(scores, positive, reduction="none")).sum()


def mean_distance(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of 1 - cos(a, b) over rows."""
    return (weight * (1 - F.cosine_similarity(a, b, dim=1))).sum()
