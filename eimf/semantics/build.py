"""From settings and a Supervision to the modules that texts and interests add to a training."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from eimf.backbones.base import Backbone
from eimf.config import AlignmentSettings, HeadSettings, SmoothingSettings
from eimf.data.histories import BLOCK_EVENTS, Histories
from eimf.losses.soft_labels import SoftLabels
from eimf.semantics.controls import apply_control
from eimf.semantics.heads import EimfHeads
from eimf.semantics.item_text import TEXT_COMPONENTS, add_text_residual, init_from_text, whiten
from eimf.semantics.soft_targets import (
    InterestNeighbors,
    Neighbors,
    frequency_decay,
    neighbors_of,
    neighbors_of_users,
    picked_items,
)
from eimf.semantics.supervision import Supervision, clusters_with_picks, nearest_interests


@dataclass(frozen=True)
class SideInformation:
    """What a training takes from texts and interests: the modules that `settings` ask for, and what supervises them."""

    supervision: Supervision
    settings: HeadSettings
    heads: EimfHeads | None = None
    item_neighbors: Neighbors | None = None
    user_neighbors: Neighbors | None = None
    interest_neighbors: InterestNeighbors | None = None
    picked_items: InterestNeighbors | None = None

    def to(self, device: torch.device) -> "SideInformation":
        self.modules().to(device)
        return replace(self, supervision=self.supervision.to(device))

    def modules(self) -> nn.ModuleDict:
        modules = {
            "heads": self.heads,
            "item_neighbors": self.item_neighbors,
            "user_neighbors": self.user_neighbors,
            "interest_neighbors": self.interest_neighbors,
            "picked_items": self.picked_items,
        }
        return nn.ModuleDict({name: module for name, module in modules.items() if module is not None})

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weight of each loss of `heads` that enters the training, by its name."""
        alignment = self.settings.alignment
        if alignment is None:
            return {}
        weights = {"align_items": alignment.items, "align_users": alignment.users, "semantic": alignment.semantic}
        return {name: weight for name, weight in weights.items() if weight > 0}

    def soft_labels(self, item_row: Tensor, user: Tensor, event: Tensor) -> SoftLabels | None:
        """The soft part of the labels of targets in these rows of the item table, of these users and events, [P] each;
        None without label smoothing."""
        smoothing = self.settings.smoothing
        if smoothing is None:
            return None
        parts = (
            (smoothing.item, self.item_neighbors, item_row),
            (smoothing.user, self.user_neighbors, user),
            (smoothing.interest, self.interest_neighbors, event),
            (smoothing.pick, self.picked_items, event),
        )
        labels = [(share, neighbors(index)) for share, neighbors, index in parts if neighbors is not None]
        return SoftLabels(
            torch.cat([part.rows for _, part in labels], dim=1),
            torch.cat([share * part.shares for share, part in labels], dim=1),
        )


def build_side_information(
    backbone: Backbone,
    supervision: Supervision,
    histories: Histories,
    settings: HeadSettings,
    seed: int,
    device: torch.device | None = None,
) -> SideInformation:
    """The modules that `settings` ask for; also prepares the item table of `backbone` (`item_init`). They have a random
    stream of their own, so the backbone's initial weights do not depend on them. `device` (default: the CPU) is where
    nearest texts are searched."""
    table_width = backbone.item_table.embedding_dim
    if settings.uses_interests or settings.uses_picks:
        supervision = apply_control(supervision, settings.control, histories, seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed + 1)
        heads = _heads(supervision, settings.alignment, table_width) if settings.alignment else None
        if settings.item_init == "text":
            init_from_text(backbone, whiten(supervision.item_text_vectors, table_width))
        if settings.item_init == "text_residual":
            add_text_residual(backbone, whiten(supervision.item_text_vectors, TEXT_COMPONENTS))
    return SideInformation(
        supervision, settings, heads, *_neighbors(supervision, histories, settings.smoothing, device)
    )


def _heads(supervision: Supervision, alignment: AlignmentSettings, table_width: int) -> EimfHeads:
    return EimfHeads(
        item_text_vectors=supervision.item_text_vectors,
        interest_vectors=supervision.interest_vectors,
        interest_mask=supervision.interest_mask,
        width=table_width,
        users=alignment.users > 0,
        semantic=alignment.semantic > 0,
    )


def _neighbors(
    supervision: Supervision, histories: Histories, smoothing: SmoothingSettings | None, device: torch.device | None
) -> tuple[Neighbors | None, Neighbors | None, InterestNeighbors | None, InterestNeighbors | None]:
    """The neighbors of items, users and interests, and the picks, as far as label smoothing needs them."""
    item, user, interest, picked = None, None, None, None
    if smoothing is None:
        return item, user, interest, picked
    texts = supervision.item_text_vectors
    item_decay = frequency_decay(histories.frequency())  # [N]
    if smoothing.item:
        item = neighbors_of(texts, texts, item_decay, exclude_self=True, device=device)
    if smoothing.user:
        user = neighbors_of_users(texts, histories, device=device)
    if smoothing.interest:
        neighbors = neighbors_of(supervision.interest_vectors.flatten(0, 1), texts, device=device)
        event_decay = _of_events(item_decay, histories)
        interest = InterestNeighbors(nearest_interests(supervision, histories), neighbors, event_decay)
    if smoothing.pick and supervision.offered is not None:
        cluster = clusters_with_picks(supervision, histories)
        picked = InterestNeighbors(cluster, picked_items(supervision.offered), _of_events(item_decay, histories))
    return item, user, interest, picked


def _of_events(values: Tensor, histories: Histories) -> Tensor:
    """The one of the `values` [N] of items that belongs to the item of each event, [E]."""
    of_events = values.new_empty(len(histories.item_idx))
    for start in range(0, len(of_events), BLOCK_EVENTS):
        item_idx = torch.from_numpy(histories.item_idx[start : start + BLOCK_EVENTS].astype(np.int64))
        of_events[start : start + BLOCK_EVENTS] = values[item_idx - 1]
    return of_events
