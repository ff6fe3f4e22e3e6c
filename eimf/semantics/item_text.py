"""Text carried into the item table, so that an item that few users know starts near those it reads like.

Two ways (our decision): the table may start from the text, or be composed of a free vector and a learned map of the
text. Either ends as a plain table: nothing of the text is left in a model that serves.

Shapes: N items, S text width, F features, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from eimf.backbones.base import Backbone


def whiten(text: Tensor, features: int) -> Tensor:
    """The first `features` principal components of texts [N, S], each of variance 1 / F, so that the mean square norm
    of a row is 1: [N, F]. A direction in which texts do not differ stays 0."""
    centred = text.double() - text.double().mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(text))
    order = torch.arange(len(values) - 1, max(-1, len(values) - 1 - features), -1)
    values, vectors = values[order].clamp(min=0), vectors[:, order]
    scale = torch.where(values > values[0] * 1e-9, values.clamp(min=1e-30).rsqrt(), 0.0)
    # The sign of a component is arbitrary: its largest entry is made positive, so that every machine finds the same.
    sign = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    white = (centred @ (vectors * sign * scale)) / features**0.5
    return F.pad(white, (0, features - white.shape[1])).float()


class AddText(nn.Module):
    """Item vectors = free vectors + map(text features), as a parametrization of the table."""

    features: Tensor

    def __init__(self, *, features: Tensor, width: int, scale: float) -> None:
        """`features` [N, F] of items 1..N; `scale` is the root mean square norm of the text's part at the start."""
        super().__init__()
        self.register_buffer("features", F.pad(features, (0, 0, 1, 0)), persistent=False)  # [N + 1, F]; row 0 is 0
        self.map = nn.Linear(features.shape[1], width, bias=False)
        nn.init.orthogonal_(self.map.weight, gain=scale * max(1.0, features.shape[1] / width) ** 0.5)

    def forward(self, free: Tensor) -> Tensor:
        return free + self.map(self.features)


def compose(backbone: Backbone, features: Tensor, scale: float) -> None:
    """From now on the item table is composed of free vectors and the text features [N, F]."""
    width = backbone.item_table.embedding_dim
    parametrize.register_parametrization(
        backbone.item_table, "weight", AddText(features=features, width=width, scale=scale)
    )


def is_composed(backbone: Backbone) -> bool:
    return parametrize.is_parametrized(backbone.item_table)


@torch.no_grad()
def start_from(backbone: Backbone, features: Tensor, scale: float) -> None:
    """The item table starts as the text features [N, D] times `scale`."""
    backbone.item_table.weight[1:] = features * scale
