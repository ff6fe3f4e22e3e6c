"""Text in the item table, so that an item with few users starts near items with similar texts.

Our decision, in two forms: the table starts from the text, or it is the sum of a free vector and a learned map of the
text. A third form is a baseline: an adaptor of the text, with or without a free vector. All end as a plain table: a
model that serves holds nothing of the text.

Shapes: N items, S text width, F components, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from eimf.backbones.base import Backbone
from eimf.parallel.sharded_table import own_rows

TEXT_COMPONENTS = 128
"""F: principal components of the text in a text residual: a third of a small encoder's width, nearly all of the
variance."""
TEXT_SCALE = 0.3
"""Root mean square norm of an item's text part at the start (of texts that differ in r < F directions, sqrt(r / F) of
it). Free vectors start at .02 sqrt(D): at first the text decides, and training does not have to undo it."""


def whiten(text_vectors: Tensor, num_components: int) -> Tensor:
    """The first F principal components of texts [N, S], each of variance 1 / F, so that the mean square norm of a row
    is 1: [N, F]. A direction in which texts do not differ stays 0."""
    mean, to_components = whitening(text_vectors, num_components)
    white = ((text_vectors.double() - mean) @ to_components) / num_components**0.5
    return F.pad(white, (0, num_components - white.shape[1])).float()


def whitening(text_vectors: Tensor, num_components: int) -> tuple[Tensor, Tensor]:
    """The mean of texts [N, S], [S], and the map of what is left to their first principal components, each of variance
    1, [S, F], both float64; F is at most S."""
    mean = text_vectors.double().mean(dim=0)
    centered = text_vectors.double() - mean
    values, vectors = torch.linalg.eigh(centered.T @ centered / len(text_vectors))
    order = torch.arange(len(values) - 1, max(-1, len(values) - 1 - num_components), -1)
    values, vectors = values[order].clamp(min=0), vectors[:, order]
    scale = torch.where(values > values[0] * 1e-9, values.clamp(min=1e-30).rsqrt(), 0.0)
    # The sign of a component is arbitrary: its largest entry is made positive, so every machine gets the same.
    sign = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    return mean, vectors * sign * scale


class TextResidual(nn.Module):
    """Item vectors = free vectors + map(text components), as a parametrization of the item table."""

    components: Tensor

    def __init__(self, *, components: Tensor, width: int, scale: float) -> None:
        """`components` [N + 1, F] of the rows of the table, 0 for the padding item; `scale` is the root mean square
        norm of the text part at the start."""
        super().__init__()
        self.register_buffer("components", components, persistent=False)
        self.map = nn.Linear(components.shape[1], width, bias=False)
        nn.init.orthogonal_(self.map.weight, gain=scale * max(1.0, components.shape[1] / width) ** 0.5)

    def forward(self, free: Tensor) -> Tensor:
        return free + self.map(self.components)


class TextAdaptor(nn.Module):
    """Item vectors = adaptor(text components), with `free` vectors added or not, as a parametrization of the item
    table.

    The baseline of UniSRec (KDD 2022) and of RecTools 0.19: principal components of the text, batch normalisation, and
    two layers. Deviations: the components stay fixed; batch normalisation is over the catalogue, which makes it a
    learned scale and shift; one adaptor in the place of a mixture of experts; no dropout; input and output share the
    table; no pre-training on other catalogues. The vectors start with the size of a text residual.
    """

    components: Tensor

    def __init__(self, *, components: Tensor, width: int, scale: float, free: bool) -> None:
        """`components` [N, F] of items 1..N; `scale` is the root mean square norm of the adapted text at the start."""
        super().__init__()
        num_components = components.shape[1]
        self.register_buffer("components", components * num_components**0.5, persistent=False)  # of variance 1
        self.free = free
        self.gain, self.shift = nn.Parameter(torch.ones(num_components)), nn.Parameter(torch.zeros(num_components))
        self.hidden, self.output = nn.Linear(num_components, num_components), nn.Linear(num_components, width)
        for layer in (self.hidden, self.output):
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.output.weight *= scale / self._adapted().square().sum(dim=1).mean().sqrt()

    def forward(self, free: Tensor) -> Tensor:
        adapted = F.pad(self._adapted(), (0, 0, 1, 0))  # [N + 1, D]; row 0, the padding item, is 0
        return free + adapted if self.free else adapted

    def _adapted(self) -> Tensor:
        """[N, D]."""
        adapted: Tensor = self.output(F.gelu(self.hidden(self.components * self.gain + self.shift)))
        return adapted


def add_text_adaptor(backbone: Backbone, components: Tensor, *, free: bool, scale: float = TEXT_SCALE) -> None:
    """Make the item table an adaptor of the text `components` [N, F], with or without `free` vectors."""
    table = backbone.item_table
    adaptor = TextAdaptor(components=components, width=table.embedding_dim, scale=scale, free=free)
    table.weight.requires_grad_(free)
    parametrize.register_parametrization(table, "weight", adaptor)


def add_text_residual(backbone: Backbone, components: Tensor, scale: float = TEXT_SCALE) -> None:
    """Make the item table the sum of free vectors and a learned map of the text `components` [N, F]."""
    table = backbone.item_table
    padded = own_rows(table, F.pad(components, (0, 0, 1, 0)))
    residual = TextResidual(components=padded, width=table.embedding_dim, scale=scale)
    parametrize.register_parametrization(table, "weight", residual)


def is_composed(backbone: Backbone) -> bool:
    """True if the item table is made of text, and of free vectors or not."""
    return parametrize.is_parametrized(backbone.item_table)


@torch.no_grad()
def init_from_text(backbone: Backbone, components: Tensor, scale: float = TEXT_SCALE) -> None:
    """Let the item table start as the text `components` [N, D] times `scale`."""
    table = backbone.item_table
    table.weight.copy_(own_rows(table, F.pad(components * scale, (0, 0, 1, 0))))
