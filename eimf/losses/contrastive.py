"""Contrast between two modalities, with false negatives masked (METHOD, L_align and fault 8).

Shapes: P anchors, U candidates, D width; any number of contrasts at once in front (...).
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(
    anchors: Tensor, candidates: Tensor, positive: Tensor, related: Tensor, temperature: float, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted sums over anchors [...] of -log softmax(cos(anchor, candidate) / temperature)[positive], and of
    1 - cos(anchor, positive).

    `anchors` [..., P, D], `candidates` [..., U, D], `positive` [..., P] each anchor's candidate, `weight` [..., P].
    `related` [..., P, U] marks the candidates that are no negatives of an anchor, for they share what it is about;
    other than the positive they are left out.
    """
    cosines = F.normalize(anchors, dim=-1) @ F.normalize(candidates, dim=-1).mT  # [..., P, U]
    chosen = positive.unsqueeze(-1)
    own = cosines.gather(-1, chosen).squeeze(-1)  # [..., P]
    rivals = cosines.masked_fill(related.scatter(-1, chosen, False), -torch.inf)
    contrast = (rivals / temperature).logsumexp(dim=-1) - own / temperature
    return (weight * contrast).sum(dim=-1), (weight * (1 - own)).sum(dim=-1)
