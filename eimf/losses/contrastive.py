"""Contrastive loss between two modalities, with false negatives masked (METHOD, L_align and fault 8).

Shapes: P anchors, U candidates, D width; several contrasts may be stacked in front (...).
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(
    anchors: Tensor,
    candidates: Tensor,
    positive: Tensor,
    false_negative_mask: Tensor,
    temperature: float,
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return two weighted sums over anchors [...]: of -log softmax(cos(anchor, candidate) / temperature)[positive], and
    of 1 - cos(anchor, positive).

    `anchors` [..., P, D], `candidates` [..., U, D], `positive` [..., P] the index of each anchor's candidate, `weight`
    [..., P]. `false_negative_mask` [..., P, U] marks candidates that are about the same thing as the anchor; except for
    the positive they are left out.
    """
    cosines = F.normalize(anchors, dim=-1) @ F.normalize(candidates, dim=-1).mT  # [..., P, U]
    positive_index = positive.unsqueeze(-1)
    positive_cosine = cosines.gather(-1, positive_index).squeeze(-1)  # [..., P]
    left_out = false_negative_mask.scatter(-1, positive_index, False)
    negatives = cosines.masked_fill(left_out, -torch.inf)
    contrast = (negatives / temperature).logsumexp(dim=-1) - positive_cosine / temperature
    return (weight * contrast).sum(dim=-1), (weight * (1 - positive_cosine)).sum(dim=-1)
