"""In-batch softmax: the targets of a step stand for the whole catalogue, corrected for their frequency.

Yi et al. 2019 (RecSys), "Sampling-Bias-Corrected Neural Modeling", with frequencies counted instead of estimated
online. The loss itself is that of `eimf.losses.sampled`.
"""

import torch
from torch import Tensor

from eimf.losses.base import Sample
from eimf.losses.sampled import SampledSoftmax


class InBatchSoftmax(SampledSoftmax):
    """`train.loss = "in-batch"`: a target counts as sampled in proportion to its frequency."""

    def sample(self, target_row: Tensor, generator: torch.Generator) -> Sample | None:
        return self.sampler.as_sample(target_row)
