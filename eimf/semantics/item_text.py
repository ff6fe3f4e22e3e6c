"""Text in the item table, so that an item with few users starts near items with similar texts.

Our decision, in two forms: the table starts from the text, or it is the sum of a free vector and a learned map of the
text. Both end as a plain table: a model that serves holds nothing of the text.

Shapes: N items, S text width, F components, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from eimf.backbones.base import Backbone

TEXT_COMPONENTS = 128
"""F: principal components of the text in a text residual: a third of a small encoder's width, nearly all of the
variance."""
TEXT_SCALE = 0.3
"""Root mean square norm of an item's text part at the start (of texts that differ in r < F directions, sqrt(r / F) of
it). Free vectors start at .02 sqrt(D): at first the text decides, and training does not have to undo it."""


def whiten(text_vectors: Tensor, num_components: int) -> Tensor:
    """The first F principal components of texts [N, S], each of variance 1 / F, so that the mean square norm of a row
    is 1: [N, F]. A direction in which texts do not differ stays 0."""
    centered = text_vectors.double() - text_vectors.double().mean(dim=0)
    values, vectors = torch.linalg.eigh(centered.T @ centered / len(text_vectors))
    order = torch.arange(len(values) - 1, max(-1, len(values) - 1 - num_components), -1)
    values, vectors = values[order].clamp(min=0), vectors[:, order]
    scale = torch.where(values > values[0] * 1e-9, values.clamp(min=1e-30).rsqrt(), 0.0)
    # The sign of a component is arbitrary: its largest entry is made positive, so every machine gets the same.
    sign = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    white = (centered @ (vectors * sign * scale)) / num_components**0.5
    return F.pad(white, (0, num_components - white.shape[1])).float()


class TextResidual(nn.Module):
    """Item vectors = free vectors + map(text components), as a parametrization of the item table."""

    components: Tensor

    def __init__(self, *, components: Tensor, width: int, scale: float) -> None:
        """`components` [N, F] of items 1..N; `scale` is the root mean square norm of the text part at the start."""
        super().__init__()
        padded = F.pad(components, (0, 0, 1, 0))  # [N + 1, F]; row 0, the padding item, is 0
        self.register_buffer("components", padded, persistent=False)
        self.map = nn.Linear(components.shape[1], width, bias=False)
        nn.init.orthogonal_(self.map.weight, gain=scale * max(1.0, components.shape[1] / width) ** 0.5)

    def forward(self, free: Tensor) -> Tensor:
        return free + self.map(self.components)


def add_text_residual(backbone: Backbone, components: Tensor, scale: float = TEXT_SCALE) -> None:
    """Make the item table the sum of free vectors and a learned map of the text `components` [N, F]."""
    width = backbone.item_table.embedding_dim
    parametrize.register_parametrization(
        backbone.item_table, "weight", TextResidual(components=components, width=width, scale=scale)
    )


def is_composed(backbone: Backbone) -> bool:
    """True if the item table is a sum of free vectors and text."""
    return parametrize.is_parametrized(backbone.item_table)


@torch.no_grad()
def init_from_text(backbone: Backbone, components: Tensor, scale: float = TEXT_SCALE) -> None:
    """Let the item table start as the text `components` [N, D] times `scale`."""
    backbone.item_table.weight[1:] = components * scale
