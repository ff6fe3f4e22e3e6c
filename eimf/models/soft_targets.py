"""Soft targets: a share of a target's mass goes to items that text says are like it.

Our decision, after label smoothing: where plain smoothing spreads over the whole catalogue, this one spreads over a few
items, by text. Of the target: those whose texts are nearest to its own. Of the user: those whose texts are nearest to
the mean text of the user's items. Of an interest that the LLM inferred: those whose texts are nearest to it, the
interest of the user's cluster that is nearest to the target counting.

Shapes: P target positions, N items, C clusters, M interests of a cluster, n neighbours, S text width.
"""

import torch
from torch import Tensor, nn

from eimf.losses.softmax import SoftLabels


class Neighbours(nn.Module):
    """For each of some texts, its nearest items and the share of each."""

    items: Tensor
    shares: Tensor

    def __init__(self, items: Tensor, similar: Tensor, temperature: float) -> None:
        """`items` [R, n] rows of the item table and their cosines `similar` [R, n] to text r, shared out by
        softmax(similar / temperature)."""
        super().__init__()
        self.register_buffer("items", items, persistent=False)
        self.register_buffer("shares", (similar / temperature).softmax(dim=1), persistent=False)

    def forward(self, row: Tensor) -> SoftLabels:
        """Of texts `row` [P]: rows of the item table and shares that sum up to 1, [P, n] each."""
        return SoftLabels(self.items.index_select(0, row), self.shares.index_select(0, row))


class InterestTargets(nn.Module):
    """Soft targets from the LLM's interests."""

    item_text: Tensor
    semantics: Tensor
    present: Tensor

    def __init__(self, item_text: Tensor, semantics: Tensor, present: Tensor, neighbours: Neighbours) -> None:
        """`item_text` [N, S], `semantics` [C, M, S] with `present` [C, M]; `neighbours` of the C * M interests."""
        super().__init__()
        self.neighbours = neighbours
        self.register_buffer("semantics", semantics, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.register_buffer("item_text", item_text, persistent=False)

    def forward(self, target: Tensor, cluster: Tensor) -> SoftLabels:
        """Of target positions [P]; nothing where `cluster` [P] is below 0, unsupervised."""
        row = cluster.clamp(min=0)
        # index_select: several times as fast as an index on a CPU.
        told, text = self.semantics.index_select(0, row), self.item_text.index_select(0, target - 1)
        match = torch.bmm(told, text.unsqueeze(2)).squeeze(2)  # [P, M]
        best = match.masked_fill(~self.present[row], -torch.inf).argmax(dim=1)
        near: SoftLabels = self.neighbours(row * self.semantics.shape[1] + best)
        return SoftLabels(near.items, near.shares * (cluster >= 0).unsqueeze(1))
