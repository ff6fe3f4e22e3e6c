"""Full softmax as a loss: every item is a negative. The arithmetic is in `eimf.losses.softmax`."""

import torch
from torch import Tensor

from eimf.losses.base import ItemTable, Sample
from eimf.losses.logit_blocks import MatmulOptions
from eimf.losses.soft_labels import SoftLabels
from eimf.losses.softmax import cross_entropy, soft_cross_entropy


class FullSoftmax:
    """`train.loss = "softmax"`."""

    samples_items = False

    def __init__(self, matmul: MatmulOptions) -> None:
        self.matmul = matmul

    def sample(self, target_row: Tensor, generator: torch.Generator) -> Sample | None:
        return None

    def __call__(
        self,
        readout: Tensor,
        items: ItemTable,
        target_row: Tensor,
        weight: Tensor,
        sample: Sample | None,
        soft: SoftLabels | None,
    ) -> dict[str, Tensor]:
        if soft is None:
            loss = cross_entropy(readout, items.item_vectors, target_row, weight, self.matmul)
            return {"loss": loss, "rec": loss}
        loss, added = soft_cross_entropy(readout, items.item_vectors, target_row, weight, soft, self.matmul)
        return {"loss": loss, "rec": loss - added, "soft": added}
