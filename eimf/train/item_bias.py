"""Item biases that know an item's life cycle: learned weights of a few numbers that training events say of each item.

Our decision. For a target at place t of its user's training history, from 0 to 1, the bias of item j is
b_j + (t - 1) d_j with b_j = c_j + <w, x_j> and d_j = <v, x_j>: c_j is free, and x_j are statistics of item j,
standardised over items. A bias that is the same for a whole history would learn the popularity of the past, which may
say little of what comes next. This one is b_j at the end of the histories, and that is saved and served.

Shapes: N items, F statistics, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from eimf.backbones.biased import Biased


class LifeCycleBias(nn.Module):
    """Adds <w, x_j> to the last column but one of an item table, and puts <v, x_j> into the last, as a parametrization
    of it; w and v start at 0."""

    statistics: Tensor

    def __init__(self, statistics: Tensor) -> None:
        """`statistics` [N, F] of items 1..N."""
        super().__init__()
        spread = statistics.std(dim=0, correction=0)
        standardised = (statistics - statistics.mean(dim=0)) / torch.where(spread > 0, spread, 1.0)
        self.register_buffer("statistics", F.pad(standardised, (0, 0, 1, 0)), persistent=False)  # row 0 is padding
        self.weight = nn.Parameter(torch.zeros(statistics.shape[1], 2))

    def forward(self, table: Tensor) -> Tensor:
        bias, drift = (self.statistics @ self.weight).split(1, dim=1)  # [N + 1, 1] each
        return torch.cat([table[:, :-2], table[:, -2:-1] + bias, drift], dim=1)


def add_life_cycle(backbone: Biased, statistics: Tensor) -> None:
    """Make the biases drift, by learned weights of the items' `statistics` [N, F]."""
    backbone.add_drift()
    parametrize.register_parametrization(backbone.item_table, "weight", LifeCycleBias(statistics))
