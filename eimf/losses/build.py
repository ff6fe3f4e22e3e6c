"""From settings to a loss."""

import numpy as np
import torch

from eimf.config import TrainSettings
from eimf.errors import SettingError
from eimf.losses.base import Loss
from eimf.losses.binary import BinaryCrossEntropy
from eimf.losses.full_softmax import FullSoftmax
from eimf.losses.hard_softmax import HardSoftmax
from eimf.losses.in_batch import InBatchSoftmax
from eimf.losses.logit_blocks import MatmulOptions
from eimf.losses.sampled import POWER, SampledSoftmax, Sampler
from eimf.losses.sharded_softmax import ShardedSoftmax
from eimf.parallel.process_group import Group


def build_loss(
    settings: TrainSettings,
    frequency: np.ndarray,
    *,
    hardness: float,
    matmul: MatmulOptions,
    device: torch.device,
    sharded: Group | None = None,
) -> Loss:
    """Build the loss that `settings` name.

    `frequency` [N]: how often each item occurs in training; `hardness` is the backbone's; `sharded` is the
    group that the item table is spread over, if it is. Raises SettingError if the
    loss has no hard negatives and the backbone needs them.
    """

    def sampler(power: float) -> Sampler:
        return Sampler(frequency, settings.negatives, device, power)

    match settings.loss:
        case "softmax" if sharded is not None:
            return ShardedSoftmax(hardness, matmul, sharded)
        case "softmax":
            return HardSoftmax(hardness, matmul) if hardness else FullSoftmax(matmul)
        case "sampled":
            return SampledSoftmax(sampler(POWER), hardness)
        case "in-batch":
            return InBatchSoftmax(sampler(1.0), hardness)
        case "gbce" | "bce":
            if hardness:
                problem = f"{settings.loss} does not support the hard negatives of this backbone"
                raise SettingError(
                    "train.loss", problem, "set the backbone's option hardness=0, or choose another loss"
                )
            return BinaryCrossEntropy(sampler(0.0), settings.calibration if settings.loss == "gbce" else 0.0)
