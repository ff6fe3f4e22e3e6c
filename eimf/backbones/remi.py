"""REMI: ComiRec-SA's K interests, trained on harder negatives and with weights kept from collapsing on one item.

Xie et al., "Rethinking Multi-Interest Learning for Candidate Matching in Recommender Systems", RecSys 2023, arXiv
2302.14532: a way to train, here on the extractor of `eimf.backbones.comirec_sa`. It predicts as ComiRec-SA does.

- Interest-aware hard negatives: a negative j counts exp(beta <r, e_j>) for the interest r that was read out. The loss
  is that of `eimf.losses.hard_softmax`; beta is `hardness`.
- Routing regularisation: A [n, K] are the weights that the K interests give to n items, each column a softmax, and
  C = (A - mean(A))^T (A - mean(A)) [K, K] with the mean over the items. The penalty is

      |diag(C)|_F^2 = sum_k (sum_j (A_jk - 1/n)^2)^2 = sum_k (sum_j A_jk^2 - 1/n)^2

  because a column sums to 1. It is 0 if every interest weights all items equally, and K (1 - 1/n)^2 if each one looks
  at a single item.

Written from the abstract and from descriptions of the paper and its code; neither was at hand. Our decisions: the
penalty is that of each prefix over its own items, averaged over positions like the loss. Its weight lambda is said to
be about 100, in code that divides C by D and sums over a batch: with D = 64 and a batch of 128 users, that is
128 * 100 / 64^2 = 3 for the mean over users. Our default is a tenth of it, which did better on Amazon Office
(validation NDCG@10 .0742 against .0673, one seed).

Shapes: B batch, T length, K interests, D width.
"""

import torch
from torch import Tensor

from eimf.backbones.base import TrainOutput
from eimf.backbones.comirec_sa import ComiRecSA
from eimf.types import Size, SmallCount, Weight


class REMI(ComiRecSA):
    """Self-attentive multi-interest extraction with REMI's training."""

    def __init__(
        self,
        *,
        num_items: int,
        width: int,
        max_length: int,
        dropout: float,
        interests: SmallCount = 4,
        hidden: Size = 256,
        hardness: Weight = 1.0,
        routing: Weight = 0.3,
    ) -> None:
        """`interests` is K, `hidden` the width inside the attention; `hardness` is beta (0: all negatives count alike),
        `routing` lambda."""
        super().__init__(
            num_items=num_items, width=width, max_length=max_length, dropout=dropout, interests=interests, hidden=hidden
        )
        self.hardness, self.routing = hardness, routing

    def forward_train(self, items: Tensor, next_items: Tensor, times: Tensor | None = None) -> TrainOutput:
        interests, attention = self.attend(items)
        counts = torch.arange(1, items.shape[1] + 1, device=items.device).unsqueeze(1)  # n of each prefix, [T, 1]
        variance = attention.square().sum(dim=3) - 1 / counts  # diag(C), [B, T, K]
        return TrainOutput(interests, penalty=self.routing * variance.square().sum(dim=2))
