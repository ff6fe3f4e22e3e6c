"""Soft targets: a share of a target's mass goes to items that text says are like it.

Our decision, after label smoothing: where plain smoothing spreads over the whole catalogue, this one spreads over a few
items, by text. Of the target: those whose texts are nearest to its own. Of the user: those whose texts are nearest to
the mean text of the user's items. Of an interest that the LLM inferred: those whose texts are nearest to it, the
interest of the user's cluster that is nearest to the target counting. What there are many training events of can do
without: a weight may make its share small.

Shapes: P target positions, E events, R texts, n neighbours.
"""

from torch import Tensor, nn

from eimf.losses.soft_labels import SoftLabels


class Neighbours(nn.Module):
    """For each of some texts, its nearest items and the share of each, times a weight of the text."""

    items: Tensor
    shares: Tensor

    def __init__(self, items: Tensor, similar: Tensor, temperature: float, weight: Tensor | None = None) -> None:
        """`items` [R, n] rows of the item table and their cosines `similar` [R, n] to text r, whose `weight` [R], or
        1, is shared out by softmax(similar / temperature)."""
        super().__init__()
        self.register_buffer("items", items, persistent=False)
        shares = (similar / temperature).softmax(dim=1)
        self.register_buffer("shares", shares if weight is None else shares * weight.unsqueeze(1), persistent=False)

    def forward(self, row: Tensor) -> SoftLabels:
        """Of texts `row` [P]: rows of the item table and shares that sum up to the weight, [P, n] each."""
        # index_select: several times as fast as an index on a CPU.
        return SoftLabels(self.items.index_select(0, row), self.shares.index_select(0, row))


class InterestTargets(nn.Module):
    """Soft targets from the LLM's interests: of each event, those of one interest."""

    interest: Tensor
    weight: Tensor

    def __init__(self, interest: Tensor, neighbours: Neighbours, weight: Tensor) -> None:
        """`interest` [E], which text of `neighbours` counts for an event, or -1: none; and `weight` [E] for how
        much."""
        super().__init__()
        self.neighbours = neighbours
        self.register_buffer("interest", interest.clamp(min=0), persistent=False)
        self.register_buffer("weight", weight * (interest >= 0), persistent=False)

    def forward(self, event: Tensor) -> SoftLabels:
        """Of events [P]; no shares where no interest counts."""
        near: SoftLabels = self.neighbours(self.interest.index_select(0, event))
        return SoftLabels(near.items, near.shares * self.weight.index_select(0, event).unsqueeze(1))
