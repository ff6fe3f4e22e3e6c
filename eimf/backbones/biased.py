"""A backbone whose items have a bias: score(u, j) = max_k <V_k, e_j> + b_j, which is a plain inner product.

Our decision. The items are [e_j, b_j] and the interests [V_k, 1], so every loss, exact ranking, an index and a bundle
take them as they take those of any backbone. While it trains, a bias may drift from the begin of a history to its end
(`eimf.train.item_bias`): then the items are [e_j, b_j, d_j] and the interests [V_k, 1, t - 1], t being the place of the
target in its history, from 0 to 1. What is saved and served is b_j, the bias at the end.

Shapes: B batch, T length, K interests, D width of the backbone, N items, P target positions.
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
        self.base_width, self.drifts = backbone.base_width, False
        self.uses_timestamps, self.hardness = backbone.uses_timestamps, backbone.hardness
        self.item_table = _with_column(backbone.item_table)
        backbone.item_table = TableColumns(self, self.base_width)  # type: ignore[assignment]
        self.backbone = backbone

    def add_drift(self) -> None:
        """Let the biases drift while it trains: the item table becomes [N + 1, D + 2]."""
        self.item_table, self.drifts = _with_column(self.item_table), True

    def at_place(self, interests: Tensor, place: Tensor) -> Tensor:
        """Interests [P, ...] for targets at `place` [P] in their histories instead of the end, if biases drift."""
        return torch.cat([interests[:, :-1], (place - 1).unsqueeze(1)], dim=1) if self.drifts else interests

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        """As `Backbone.forward`, [B, T, K, D + 1]."""
        return self._with_ends(self.backbone(items, times))

    def forward_train(self, items: Tensor, next_items: Tensor, times: Tensor | None = None) -> TrainOutput:
        output = self.backbone.forward_train(items, next_items, times)
        return TrainOutput(self._with_ends(output.interests), output.loss_mask, output.penalty)

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `Backbone.interests`, [B, K, D + 1]."""
        return self._with_ends(self.backbone.interests(items, lengths, times))

    def inference_fn(self, num_positions: int) -> InferenceFn:
        interests = self.backbone.inference_fn(num_positions)
        return lambda items, lengths, times: self._with_ends(interests(items, lengths, times))

    def serving_state_dict(self) -> dict[str, Tensor]:
        """The weights for serving: the biases are those at the end of a history."""
        weights = super().serving_state_dict()
        table = weights["item_table.weight"][:, : self.base_width + 1].contiguous()
        return {**weights, "item_table.weight": table}

    def _with_ends(self, interests: Tensor) -> Tensor:
        """Interests [..., D] with the 1 of the bias, and the 0 of its drift at the end of a history: [..., D + 1]."""
        one = torch.ones_like(interests[..., :1])
        return torch.cat([interests, one, torch.zeros_like(one)] if self.drifts else [interests, one], dim=-1)


def _with_column(table: nn.Embedding) -> nn.Embedding:
    """A table with one more column, of zeros."""
    return nn.Embedding.from_pretrained(F.pad(table.weight.detach(), (0, 1)), freeze=False, padding_idx=0)


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
