"""Binary cross entropy of a target against drawn items, plain (BCE) and generalised (gBCE).

gBCE: Petrov and Macdonald, "gSASRec", arXiv 2308.07192, section 4: the target's probability is raised to the power
beta = a (t (1 - 1 / a) + 1 / a), with a the share of the negatives that are drawn, so that t = 1 takes out the
overconfidence that drawing few negatives brings, and t = 0 is plain BCE.
Deviation: the negatives are drawn for a step and shared by its positions, not for each position.

Shapes: R rows, C draws, n other items of a row's label, N items, D width.
"""

from torch import Tensor
from torch.nn import functional as F

from eimf.losses.soft_labels import SoftLabelVectors


def binary_cross_entropy(
    hidden: Tensor, own: Tensor, drawn: Tensor, target: Tensor, items: Tensor, weight: Tensor, *, calibration: float,
    catalogue: int, soft: SoftLabelVectors | None = None,
) -> Tensor:  # fmt: skip
    """Weighted sum over rows of the mean of -beta log sigmoid(<hidden, own>) and -log sigmoid(-<hidden, drawn_j>).

    `hidden` [R, D], `own` [R, D] vectors of the targets, `drawn` [C, D] those of `items` [C], drawn evenly, `target`
    [R] item_idx, `weight` [R]; `calibration` is t, `catalogue` N. A drawn item that is the target counts as none.
    With `soft`, its items are positive too, by their shares.
    """
    share = min(1.0, len(items) / max(1, catalogue - 1))
    power = share * (calibration * (1 - 1 / share) + 1 / share)
    positive = F.softplus(-(hidden * own).sum(dim=1))  # [R]
    if soft is not None:
        positive = soft.labels.mean(positive, F.softplus(-soft.scores(hidden)))
    others = target.unsqueeze(1) != items  # [R, C]
    negative = (F.softplus(hidden @ drawn.T) * others).sum(dim=1)
    return (weight * (power * positive + negative) / (1 + others.sum(dim=1))).sum()
