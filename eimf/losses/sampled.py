"""Sampled softmax: a few drawn items stand for the catalogue, corrected for how likely each was to be drawn (logQ).

For catalogues whose full softmax is out of reach. The mass of the softmax is estimated as
exp(s_target) + sum over drawn j, other than the target, of exp(s_j) / (n q_j), for n draws from q. Every term has the
expectation of its part of the true mass, so the estimate is unbiased; drawing each item once makes it exact. As in
Bengio and Senecal 2008 and Yi et al. 2019 (RecSys), but the target, which is always there, is not corrected. Nor are
the other items of a soft label: what draws them up must stand in the mass as it is, or nothing would hold them.

Shapes: R rows, C draws, n other items of a row's label, N items, D width.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eimf.losses.soft_labels import SoftLabelVectors, drawn_among, repeated

POWER = 0.75
"""Draws go by (frequency + 1) to this power: Mikolov et al. 2013, section 2.2, with items never seen kept possible."""


_NEVER = 1e9


@dataclass(frozen=True)
class Sample:
    """`items` [C] item_idx, drawn with replacement; `log_expected` [C], log of n q_j."""

    items: Tensor
    log_expected: Tensor


class Sampler:
    """Draws items 1..N by the power of their frequency."""

    def __init__(self, frequency: np.ndarray, draws: int, device: torch.device, power: float = POWER) -> None:
        """`frequency` [N]: how often each item occurs in training. A `power` of 0 draws evenly."""
        share = torch.from_numpy((frequency.astype(np.float64) + 1) ** power)
        share /= share.sum()
        self.draws = draws
        self.cumulative = share.cumsum(0).to(device)
        self.log_share = share.log().float().to(device)

    def draw(self, generator: torch.Generator) -> Sample:
        """A new sample, by a CPU generator."""
        places = torch.rand(self.draws, generator=generator, dtype=torch.float64)
        places = places.to(self.cumulative.device, non_blocking=True)
        rows = torch.searchsorted(self.cumulative, places).clamp_(max=len(self.cumulative) - 1)
        return self.of(rows + 1)

    def of(self, items: Tensor) -> Sample:
        """Items [C] that came as if drawn, such as the targets of a batch."""
        return Sample(items, self.log_share[items - 1] + math.log(max(1, len(items))))


def sampled_cross_entropy(
    hidden: Tensor, own: Tensor, drawn: Tensor, target: Tensor, sample: Sample, weight: Tensor, hardness: float = 0.0,
    soft: SoftLabelVectors | None = None,
) -> Tensor:  # fmt: skip
    """Weighted sum over rows of log(estimated mass) - <hidden, own>; with `soft`, less the mean score of the label.

    `hidden` [R, D], `own` [R, D] vectors of the targets, `drawn` [C, D] those of the sample, `target` [R] item_idx,
    `weight` [R]. With a `hardness` the drawn items are weighed as in `eimf.losses.softmax.hard_cross_entropy`.
    """
    score = (hidden * own).sum(dim=1)  # [R]
    negative = hidden @ drawn.T  # [R, C]
    named = target.unsqueeze(1)  # [R, 1 or 1 + n]: what stands in the mass as it is
    if soft is None:
        held = named == sample.items  # [R, C]; for one item a row a sixth of the time
    else:
        named = torch.cat([named, soft.labels.items + 1], dim=1)
        held = drawn_among(named, sample.items)
    # Not infinite: a sample of nothing but the target must leave a gradient of 0, not of NaN.
    log_expected = sample.log_expected.masked_fill(held, _NEVER)  # [R, C]
    mass = ((1 + hardness) * negative - log_expected).logsumexp(dim=1)
    if hardness:
        mass = mass - (hardness * negative - log_expected).logsumexp(dim=1) + (-log_expected).logsumexp(dim=1)
    mass = torch.logaddexp(score, mass)
    if soft is None:
        return (weight * (mass - score)).sum()
    others = soft.scores(hidden)  # [R, n]
    once = others.masked_fill(repeated(named)[:, 1:], -_NEVER)
    return (weight * (torch.logaddexp(mass, once.logsumexp(dim=1)) - soft.labels.mean(score, others))).sum()
