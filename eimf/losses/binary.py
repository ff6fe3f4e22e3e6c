"""Binary cross entropy of a target against sampled items, plain (BCE) and generalised (gBCE).

gBCE: Petrov and Macdonald, "gSASRec", arXiv 2308.07192, section 4: the target's probability is raised to the power
beta = a (t (1 - 1 / a) + 1 / a), with a the sampled share of the negatives. At t = 1 this removes the overconfidence
that comes from sampling few negatives; t = 0 is plain BCE.
Deviation: one sample per step, shared by its positions, instead of one for each position.

Shapes: R rows, C sampled items, n other items in a row's label, N items, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.losses.base import ItemTable, Sample
from eimf.losses.sampled import Sampler
from eimf.losses.soft_labels import SoftLabels, SoftLabelVectors, with_vectors


def gbce_power(calibration: float, num_sampled: int, num_items: int) -> float:
    """Return beta of gBCE for t = `calibration`."""
    share = min(1.0, num_sampled / max(1, num_items - 1))
    return share * (calibration * (1 - 1 / share) + 1 / share)


def binary_cross_entropy(
    hidden: Tensor,
    positive: Tensor,
    negatives: Tensor,
    target_row: Tensor,
    sampled_rows: Tensor,
    weight: Tensor,
    *,
    power: float,
    soft: SoftLabelVectors | None = None,
) -> Tensor:
    """Return the weighted sum over rows of the mean of -beta log sigmoid(<hidden, positive>) and
    -log sigmoid(-<hidden, negative_j>).

    `hidden` [R, D], `positive` [R, D] the targets' vectors, `negatives` [C, D] those of `sampled_rows` [C],
    `target_row` [R], `weight` [R]; `power` is beta. A sampled item that is the target is left out. With `soft`, its
    items are positive too, by their shares.
    """
    positive_loss = F.softplus(-(hidden * positive).sum(dim=1))  # [R]
    if soft is not None:
        positive_loss = soft.labels.mean(positive_loss, F.softplus(-soft.scores(hidden)))
    is_negative = target_row.unsqueeze(1) != sampled_rows  # [R, C]
    negative_loss = (F.softplus(hidden @ negatives.T) * is_negative).sum(dim=1)
    return (weight * (power * positive_loss + negative_loss) / (1 + is_negative.sum(dim=1))).sum()


class BinaryCrossEntropy:
    """`train.loss = "gbce"`, and `"bce"` with a `calibration` of 0."""

    samples_items = True

    def __init__(self, sampler: Sampler, calibration: float) -> None:
        self.sampler, self.calibration = sampler, calibration

    def sample(self, target_row: Tensor, generator: torch.Generator) -> Sample | None:
        return self.sampler.draw(generator)

    def __call__(
        self,
        readout: Tensor,
        items: ItemTable,
        target_row: Tensor,
        weight: Tensor,
        sample: Sample | None,
        soft: SoftLabels | None,
    ) -> dict[str, Tensor]:
        assert sample is not None
        label_vectors = with_vectors(soft, items.vectors_of)
        positive, negatives = items.vectors_of(target_row), items.vectors_of(sample.rows)
        power = gbce_power(self.calibration, len(sample.rows), items.num_items)
        loss = binary_cross_entropy(
            readout, positive, negatives, target_row, sample.rows, weight, power=power, soft=label_vectors
        )
        return {"loss": loss, "rec": loss}
