"""Full softmax with interest-aware hard negatives.

REMI (arXiv 2302.14532): items near the interest that was read out count for more in the normalizer.

Shapes: R rows, n other items in a row's label, N items, D width.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.losses.base import ItemTable, Sample
from eimf.losses.logit_blocks import MatmulOptions
from eimf.losses.soft_labels import SoftLabels, SoftLabelVectors, with_vectors
from eimf.losses.softmax import weighted_logsumexp


def hard_cross_entropy(
    hidden: Tensor,
    table: Tensor,
    target_row: Tensor,
    weight: Tensor,
    hardness: float,
    matmul: MatmulOptions,
    soft: SoftLabelVectors | None = None,
) -> Tensor:
    """Return the cross entropy in which an item weighs N softmax(beta <hidden, e_j>) in the normalizer, beta the
    `hardness`: REMI's importance weights, over all items instead of sampled ones (our decision: the target too).

    normalizer = N sum_j exp((1 + beta) s_j) / sum_j exp(beta s_j): two plain sums. A hardness of 0 is the plain loss.
    """
    log_normalizer = weighted_logsumexp((1 + hardness) * hidden, table, weight, matmul)
    log_normalizer = log_normalizer - weighted_logsumexp(hardness * hidden, table, weight, matmul)
    positive_score = (hidden * F.embedding(target_row, table)).sum(dim=1)
    label_score = positive_score if soft is None else soft.labels.mean(positive_score, soft.scores(hidden))
    return log_normalizer + (weight * (math.log(len(table)) - label_score)).sum()


class HardSoftmax:
    """`train.loss = "softmax"` for a backbone with a `hardness`."""

    samples_items = False

    def __init__(self, hardness: float, matmul: MatmulOptions) -> None:
        self.hardness, self.matmul = hardness, matmul

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
        label_vectors = with_vectors(soft, items.vectors_of)
        loss = hard_cross_entropy(
            readout, items.item_vectors, target_row, weight, self.hardness, self.matmul, label_vectors
        )
        return {"loss": loss, "rec": loss}
