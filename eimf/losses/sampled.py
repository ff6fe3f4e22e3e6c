"""Sampled softmax: a few sampled items stand for the whole catalogue, corrected for how likely each was (logQ).

For catalogues too large for the full softmax. The softmax's normalizer is estimated as
exp(s_target) + sum over sampled j, other than the target, of exp(s_j) / (n q_j), for n items sampled from q. Each term
has the expectation of its part of the true normalizer, so the estimate is unbiased; sampling each item once makes it
exact. As in Bengio and Senecal 2008 and Yi et al. 2019 (RecSys), except that the target, which is always present, is
not corrected. The other items of a soft label are not corrected either: their positive gradient needs an uncorrected
term in the normalizer to balance it.

Shapes: R rows, C sampled items, n other items in a row's label, N items, D width.
"""

import math

import numpy as np
import torch
from torch import Tensor

from eimf.losses.base import ItemTable, Sample
from eimf.losses.soft_labels import SoftLabels, SoftLabelVectors, is_label, repeated, with_vectors

POWER = 0.75
"""Items are sampled by (frequency + 1) to this power: Mikolov et al. 2013, section 2.2, with unseen items possible."""

_NEVER = 1e9
"""Logarithm of the expected count of a sampled item that must not count."""


class Sampler:
    """Samples rows of the item table by a power of the items' frequency."""

    def __init__(self, frequency: np.ndarray, count: int, device: torch.device, power: float = POWER) -> None:
        """`frequency` [N]: how often each item occurs in training; `count` items per sample. A `power` of 0 samples
        evenly."""
        share = torch.from_numpy((frequency.astype(np.float64) + 1) ** power)
        share /= share.sum()
        self.count = count
        self.cumulative = share.cumsum(0).to(device)
        self.log_share = share.log().float().to(device)

    def draw(self, generator: torch.Generator) -> Sample:
        """Draw a new sample with a CPU generator."""
        points = torch.rand(self.count, generator=generator, dtype=torch.float64)
        points = points.to(self.cumulative.device, non_blocking=True)
        return self.as_sample(torch.searchsorted(self.cumulative, points).clamp_(max=len(self.cumulative) - 1))

    def as_sample(self, rows: Tensor) -> Sample:
        """Take rows [C] as if they had been sampled, such as the targets of a batch."""
        return Sample(rows, self.log_share[rows] + math.log(max(1, len(rows))))


def sampled_cross_entropy(
    hidden: Tensor,
    positive: Tensor,
    negatives: Tensor,
    target_row: Tensor,
    sample: Sample,
    weight: Tensor,
    hardness: float = 0.0,
    soft: SoftLabelVectors | None = None,
) -> Tensor:
    """Return the weighted sum over rows of log(estimated normalizer) - <hidden, positive>; with `soft`, minus the mean
    score of the label instead.

    `hidden` [R, D], `positive` [R, D] the targets' vectors, `negatives` [C, D] the sample's, `target_row` [R], `weight`
    [R]. With a `hardness`, sampled items are weighted as in `eimf.losses.hard_softmax`.
    """
    score = (hidden * positive).sum(dim=1)  # [R]
    negative_scores = hidden @ negatives.T  # [R, C]
    label_rows = target_row.unsqueeze(1)  # [R, 1 or 1 + n]: uncorrected in the normalizer
    if soft is None:
        in_label = label_rows == sample.rows  # [R, C]; a sixth of the time of `is_label`
    else:
        label_rows = torch.cat([label_rows, soft.labels.rows], dim=1)
        in_label = is_label(label_rows, sample.rows)
    # Not infinite: a sample of nothing but the target must leave a gradient of 0, not of NaN.
    log_expected = sample.log_expected.masked_fill(in_label, _NEVER)  # [R, C]
    log_normalizer = ((1 + hardness) * negative_scores - log_expected).logsumexp(dim=1)
    if hardness:
        importance = (hardness * negative_scores - log_expected).logsumexp(dim=1)
        log_normalizer = log_normalizer - importance + (-log_expected).logsumexp(dim=1)
    log_normalizer = torch.logaddexp(score, log_normalizer)
    if soft is None:
        return (weight * (log_normalizer - score)).sum()
    label_scores = soft.scores(hidden)  # [R, n]
    once = label_scores.masked_fill(repeated(label_rows)[:, 1:], -_NEVER)
    log_normalizer = torch.logaddexp(log_normalizer, once.logsumexp(dim=1))
    return (weight * (log_normalizer - soft.labels.mean(score, label_scores))).sum()


class SampledSoftmax:
    """`train.loss = "sampled"`: one sample per step, shared by its positions."""

    samples_items = True

    def __init__(self, sampler: Sampler, hardness: float) -> None:
        self.sampler, self.hardness = sampler, hardness

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
        loss = sampled_cross_entropy(
            readout, positive, negatives, target_row, sample, weight, self.hardness, label_vectors
        )
        return {"loss": loss, "rec": loss}
