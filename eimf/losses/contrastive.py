"""In-batch contrast between two modalities, with false negatives masked (METHOD, L_align and fault 8).

Shapes: P anchors, U candidates, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(
    anchors: Tensor, candidates: Tensor, positive: Tensor, related: Tensor | None, temperature: float, weight: Tensor
) -> Tensor:
    """Weighted sum over anchors of -log softmax(cos(anchor, candidate) / temperature)[positive].

    `anchors` [P, D], `candidates` [U, D], `positive` [P] each anchor's candidate, `weight` [P]. `related` [P, U]
    marks the candidates that are no negatives of an anchor, for they share what it is about; other than the
    positive they are left out.
    """
    scores = F.normalize(anchors, dim=1) @ (F.normalize(candidates, dim=1).T / temperature)  # [P, U]
    if related is not None:
        scores = scores.masked_fill(related.scatter(1, positive.unsqueeze(1), False), -torch.inf)
    return (weight * F.cross_entropy(scores, positive, reduction="none")).sum()


def mean_distance(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of 1 - cos(a, b) over rows."""
    return (weight * (1 - F.cosine_similarity(a, b, dim=1))).sum()
