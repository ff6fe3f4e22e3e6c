"""Item statistics in the bias of an item: learned weights of a few numbers that training events say of each item.

Our decision. b_j = c_j + <w, x_j>: c_j is free, and x_j are statistics of item j, standardised over items. Both end as
one bias when the model is saved.

Shapes: N items, F statistics, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from eimf.backbones.biased import Biased


class StatisticsBias(nn.Module):
    """Adds <w, x_j> to the last column of an item table, as a parametrization of it; w starts at 0."""

    statistics: Tensor

    def __init__(self, statistics: Tensor) -> None:
        """`statistics` [N, F] of items 1..N."""
        super().__init__()
        spread = statistics.std(dim=0, correction=0)
        standardised = (statistics - statistics.mean(dim=0)) / torch.where(spread > 0, spread, 1.0)
        self.register_buffer("statistics", F.pad(standardised, (0, 0, 1, 0)), persistent=False)  # row 0 is padding
        self.weight = nn.Parameter(torch.zeros(statistics.shape[1]))

    def forward(self, table: Tensor) -> Tensor:
        bias = (self.statistics @ self.weight).unsqueeze(1)  # [N + 1, 1]
        return table + F.pad(bias, (table.shape[1] - 1, 0))


def add_statistics(backbone: Biased, statistics: Tensor) -> None:
    """Make the bias of an item the sum of a free number and learned weights of its `statistics` [N, F]."""
    parametrize.register_parametrization(backbone.item_table, "weight", StatisticsBias(statistics))
