"""A backbone whose items have a bias: score(u, j) = max_k <V_k, e_j> + b_j, which is a plain inner product.

Our decision. The items are [e_j, b_j] and the interests [V_k, 1], so every loss, exact ranking, an index and a bundle
take them as they take those of any backbone.

Shapes: B batch, T length, K interests, D width of the backbone, N items.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import Backbone, InferenceFn, TrainOutput


class Biased(Backbone):
    """`item_table` is [N + 1, D + 1]; the backbone reads its first D columns. A bias starts at 0."""

    def __init__(self, backbone: Backbone) -> None:
        """`backbone` has a plain item table, and becomes part of this one."""
        nn.Module.__init__(self)
        self._width = backbone.content_width
        self.uses_timestamps, self.hardness = backbone.uses_timestamps, backbone.hardness
        table = F.pad(backbone.item_table.weight.detach(), (0, 1))
        self.item_table = nn.Embedding.from_pretrained(table, freeze=False, padding_idx=0)
        backbone.item_table = TableColumns(self, self._width)  # type: ignore[assignment]
        self.backbone = backbone

    @property
    def content_width(self) -> int:
        return self._width

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        """As `Backbone.forward`, [B, T, K, D + 1]."""
        return _with_one(self.backbone(items, times))

    def forward_train(self, items: Tensor, next_items: Tensor, times: Tensor | None = None) -> TrainOutput:
        output = self.backbone.forward_train(items, next_items, times)
        return TrainOutput(_with_one(output.interests), output.loss_mask, output.penalty)

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `Backbone.interests`, [B, K, D + 1]."""
        return _with_one(self.backbone.interests(items, lengths, times))

    def inference_fn(self, num_positions: int) -> InferenceFn:
        interests = self.backbone.inference_fn(num_positions)
        return lambda items, lengths, times: _with_one(interests(items, lengths, times))


def _with_one(interests: Tensor) -> Tensor:
    """Interests [..., D] with the 1 that the bias is multiplied by, [..., D + 1]."""
    return torch.cat([interests, torch.ones_like(interests[..., :1])], dim=-1)


class TableColumns(nn.Module):
    """The first columns of the item table that another backbone has at the time, in the place of a table."""

    sparse = False
    padding_idx = 0

    def __init__(self, owner: Backbone, width: int) -> None:
        super().__init__()
        self._owner = [owner]  # in a list, so that it is no part of this module
        self.embedding_dim, self.num_embeddings = width, owner.item_table.num_embeddings

    @property
    def weight(self) -> Tensor:
        return self._owner[0].item_table.weight[:, : self.embedding_dim]

    def forward(self, items: Tensor) -> Any:
        return self._owner[0].item_table(items)[..., : self.embedding_dim]
