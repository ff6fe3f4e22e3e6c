"""Soft targets: label smoothing that moves part of a target's probability mass to a few items that are similar to it.

Our decision. Plain label smoothing spreads the mass over all items; here it goes to the items whose texts are nearest
to the target's (item), to the mean text of the user's items (user), or to an interest that the LLM inferred (interest):
of the user's cluster, the one closest to the target. Or to the items that the same users had (cooccurrence), or that
the LLM picked for the cluster (pick). Frequent items and users with long histories need less of it, so their mass
decays with the number of training events.

Shapes: P target positions, E events, R texts, N items, n neighbors, S text width.
"""

import numpy as np
import torch
from torch import Tensor, nn

from eimf.data.cooccurrence import count_cooccurrence
from eimf.data.histories import Histories
from eimf.losses.soft_labels import SoftLabels
from eimf.retrieval import nearest_rows
from eimf.semantics.supervision import Offered
from eimf.semantics.text_vectors import user_text_blocks

NEIGHBORS = 20
"""Items that share the mass of one text: enough that a wrong neighbor costs little. No study set another number."""
TEMPERATURE = 0.1
"""Of the softmax over the neighbors' cosines: a neighbor .1 less similar gets 1 / e of the mass."""
FREQUENCY_DECAY = 0.05
"""After 20 training events half of the mass is left."""


class Neighbors(nn.Module):
    """For each text, its nearest items and the mass of each."""

    rows: Tensor
    shares: Tensor

    def __init__(
        self, rows: Tensor, cosines: Tensor, weight: Tensor | None = None, *, temperature: float = TEMPERATURE
    ) -> None:
        """`rows` [R, n] of the item table, and `cosines` [R, n] their similarity to text r. The `weight` [R]
        of a text, by default 1, is divided among them by softmax(cosine / temperature)."""
        super().__init__()
        self.register_buffer("rows", rows.int(), persistent=False)  # half the memory: there may be a text per user
        shares = (cosines / temperature).softmax(dim=1)
        self.register_buffer("shares", shares if weight is None else shares * weight.unsqueeze(1), persistent=False)

    def forward(self, text: Tensor) -> SoftLabels:
        """For texts of these numbers [P]: rows of the item table, and shares that add up to the weight, [P, n]."""
        # index_select: several times as fast as indexing on a CPU.
        return SoftLabels(self.rows.index_select(0, text).long(), self.shares.index_select(0, text))


class InterestNeighbors(nn.Module):
    """Soft targets from the LLM: for each event, the neighbors of one interest, or the items picked for one cluster."""

    interest: Tensor
    weight: Tensor

    def __init__(self, interest: Tensor, neighbors: Neighbors, weight: Tensor) -> None:
        """`interest` [E] is the text of `neighbors` (or the cluster) that counts for an event, -1 if none does;
        `weight` [E] scales its mass."""
        super().__init__()
        self.neighbors = neighbors
        self.register_buffer("interest", interest.clamp(min=0), persistent=False)
        self.register_buffer("weight", weight * (interest >= 0), persistent=False)

    def forward(self, event: Tensor) -> SoftLabels:
        """For events [P]; all shares are 0 if no interest counts."""
        labels: SoftLabels = self.neighbors(self.interest.index_select(0, event))
        return SoftLabels(labels.rows, labels.shares * self.weight.index_select(0, event).unsqueeze(1))


def picked_items(offered: Offered) -> Neighbors:
    """For each cluster, the items that the LLM picked, with equal shares; of a cluster without any, some others."""
    most = int(offered.picked.sum(dim=1).max())
    place = offered.picked.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    is_picked = offered.picked.gather(1, place)
    cosines = torch.zeros(place.shape).masked_fill(~is_picked & is_picked.any(dim=1, keepdim=True), -torch.inf)
    return Neighbors(offered.rows.gather(1, place).clamp(min=0), cosines)


def neighbors_of(
    texts: Tensor,
    item_text_vectors: Tensor,
    weight: Tensor | None = None,
    *,
    exclude_self: bool = False,
    count: int = NEIGHBORS,
    device: torch.device | None = None,
) -> Neighbors:
    """The `count` items nearest to each of the `texts` [R, S], searched on `device` (default: the CPU). With
    `exclude_self`, text r is that of item row r, which is left out."""
    rows, cosines = nearest_rows(
        texts.to(device=device), item_text_vectors.to(device=device), count, exclude_self=exclude_self
    )
    return Neighbors(rows.cpu(), cosines.cpu(), weight)


def neighbors_of_users(
    item_text_vectors: Tensor, histories: Histories, *, device: torch.device | None = None
) -> Neighbors:
    """The items nearest to the mean text of every user, of which frequent users give away less. Block by block: the
    texts of all users may not fit into memory."""
    table = item_text_vectors.to(device=device)
    rows, cosines = [], []
    for _, texts in user_text_blocks(item_text_vectors, histories):
        nearest, similarity = nearest_rows(texts.to(device=device), table, NEIGHBORS)
        rows.append(nearest.int().cpu())
        cosines.append(similarity.cpu())
    return Neighbors(torch.cat(rows), torch.cat(cosines), frequency_decay(histories.num_train))


def neighbors_by_cooccurrence(histories: Histories) -> Neighbors:
    """The items that the same users had most often in training, of which frequent targets give away less. In the place
    of a neighbor that it lacks, an item has itself, with similarity 0: what rests on little stays with the target."""
    rows, similarities = count_cooccurrence(histories).nearest(NEIGHBORS)
    return Neighbors(torch.from_numpy(rows), torch.from_numpy(similarities), frequency_decay(histories.frequency()))


def frequency_decay(num_events: np.ndarray, rate: float = FREQUENCY_DECAY) -> Tensor:
    """Weight 1 / (1 + rate n) of whatever has n training events."""
    return 1 / (1 + rate * torch.from_numpy(num_events).float())
