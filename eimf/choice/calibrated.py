"""A trained backbone with further coordinates: the same inner product, with what else decides the next item.

score(u, j) = max_k <V_k, e_j> + <q, c_j> + b_j, where c_j [R] are further coordinates of item j, b_j is its bias, and
q = M^T mean_h c_h + L^T c_last depends on the items h of the window only. So the interests are [V_k, q, 1] and the
items [e_j, c_j, b_j]: exact ranking, an approximate index and a bundle take them as they take those of any backbone.

Shapes: B batch, T length, K interests, D width of the backbone, R further coordinates, N items.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import Backbone, InferenceFn


class Calibrated(Backbone):
    """`item_table` is [N + 1, D + R + 1]; the backbone reads its first D columns."""

    mean_map: Tensor
    last_map: Tensor

    def __init__(
        self, backbone: Backbone, coordinates: Tensor, bias: Tensor, mean_map: Tensor, last_map: Tensor
    ) -> None:
        """`backbone` has a plain item table, and becomes part of this one. `coordinates` [N, R], `bias` [N]; the maps M
        and L [R, R]."""
        nn.Module.__init__(self)
        self.base_width = backbone.item_table.embedding_dim
        self.uses_timestamps = backbone.uses_timestamps
        further = F.pad(torch.cat([coordinates, bias.unsqueeze(1)], dim=1), (0, 0, 1, 0))  # row 0 is padding
        table = torch.cat([backbone.item_table.weight.detach(), further], dim=1)
        self.item_table = nn.Embedding.from_pretrained(table, padding_idx=0)
        backbone.item_table = TableView(self.item_table, self.base_width)  # type: ignore[assignment]
        self.backbone = backbone
        self.register_buffer("mean_map", mean_map)
        self.register_buffer("last_map", last_map)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        """As `Backbone.forward`, [B, T, K, D + R + 1]."""
        number = torch.arange(1, items.shape[1] + 1, device=items.device).unsqueeze(1)
        further = self._further(items)
        query = (further.cumsum(dim=1) / number) @ self.mean_map + further @ self.last_map  # [B, T, R]
        return self._joined(self.backbone(items, times), query)

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `Backbone.interests`, [B, K, D + R + 1]."""
        return self._joined(self.backbone.interests(items, lengths, times), self._query(items, lengths))

    def inference_fn(self, num_positions: int) -> InferenceFn:
        interests = self.backbone.inference_fn(num_positions)

        def of_histories(items: Tensor, lengths: Tensor, times: Tensor | None) -> Tensor:
            return self._joined(interests(items, lengths, times), self._query(items, lengths))

        return of_histories

    def _further(self, items: Tensor) -> Tensor:
        """The coordinates c of the items, [B, T, R]; 0 at padding."""
        return self.item_table(items)[..., self.base_width : -1]

    def _query(self, items: Tensor, lengths: Tensor) -> Tensor:
        """q of full histories, [B, R]."""
        further = self._further(items)
        last = further[torch.arange(items.shape[0], device=items.device), lengths - 1]
        return (further.sum(dim=1) / lengths.unsqueeze(1)) @ self.mean_map + last @ self.last_map

    def _joined(self, interests: Tensor, query: Tensor) -> Tensor:
        """Interests [..., K, D] with q [..., R] and the 1 of the bias: [..., K, D + R + 1]."""
        query = query.unsqueeze(-2).expand(*interests.shape[:-1], query.shape[-1])
        return torch.cat([interests, query, torch.ones_like(interests[..., :1])], dim=-1)


class TableView(nn.Module):
    """The first columns of another item table, in the place of a table of its own."""

    sparse = False
    padding_idx = 0

    def __init__(self, table: nn.Embedding, width: int) -> None:
        super().__init__()
        self._table = [table]  # in a list, so that it is no part of this module
        self.embedding_dim, self.num_embeddings = width, table.num_embeddings

    @property
    def weight(self) -> Tensor:
        return self._table[0].weight[:, : self.embedding_dim]

    def forward(self, items: Tensor) -> Any:
        return self._table[0](items)[..., : self.embedding_dim]
