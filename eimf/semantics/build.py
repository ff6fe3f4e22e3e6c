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
    neighbors_by_cooccurrence,
    neighbors_of,
    neighbors_of_users,
)
from eimf.semantics.supervision import Supervision, nearest_interests


@dataclass(frozen=True)
class SideInformation:
    """What a training takes from texts, interests and co-occurrence: the modules that `settings` ask for, and what
    supervises them; None if no text does."""

    supervision: Supervision | None
    settings: HeadSettings
    heads: EimfHeads | None = None
    item_neighbors: Neighbors | None = None
    user_neighbors: Neighbors | None = None
    interest_neighbors: InterestNeighbors | None = None
    cooccurring: Neighbors | None = None

    def to(self, device: torch.device) -> "SideInformation":
        self.modules().to(device)
        return replace(self, supervision=self.supervision.to(device) if self.supervision else None)

    def modules(self) -> nn.ModuleDict:
        modules = {
            "heads": self.heads,
            "item_neighbors": self.item_neighbors,
            "user_neighbors": self.user_neighbors,
            "interest_neighbors": self.interest_neighbors,
            "cooccurring": self.cooccurring,
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
            (smoothing.cooccurrence, self.cooccurring, item_row),
        )
        labels = [(share, neighbors(index)) for share, neighbors, index in parts if neighbors is not None]
        return SoftLabels(
            torch.cat([part.rows for _, part in labels], dim=1),
            torch.cat([share * part.shares for share, part in labels], dim=1),
        )


def build_side_information(
    backbone: Backbone,
    supervision: Supervision | None,
    histories: Histories,
    settings: HeadSettings,
    seed: int,
    device: torch.device | None = None,
) -> SideInformation:
    """The modules that `settings` ask for; also prepares the item table of `backbone` (`item_init`). They have a random
    stream of their own, so the backbone's initial weights do not depend on them. `supervision` is None if `settings`
    read no text. `device` (default: the CPU) is where nearest texts are searched."""
    smoothing = settings.smoothing
    cooccurring = neighbors_by_cooccurrence(histories) if smoothing and smoothing.cooccurrence else None
    if supervision is None:
        assert not settings.reads_texts
        return SideInformation(None, settings, cooccurring=cooccurring)
    table_width = backbone.item_table.embedding_dim
    if settings.uses_interests:
        supervision = apply_control(supervision, settings.control, histories, seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed + 1)
        heads = _heads(supervision, settings.alignment, table_width) if settings.alignment else None
        if settings.item_init == "text":
            init_from_text(backbone, whiten(supervision.item_text_vectors, table_width))
        if settings.item_init == "text_residual":
            add_text_residual(backbone, whiten(supervision.item_text_vectors, TEXT_COMPONENTS))
    return SideInformation(
        supervision, settings, heads, *_neighbors(supervision, histories, smoothing, device), cooccurring
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
) -> tuple[Neighbors | None, Neighbors | None, InterestNeighbors | None]:
    """The neighbors of items, users and interests by their texts, as far as label smoothing needs them."""
    item, user, interest = None, None, None
    if smoothing is None:
        return item, user, interest
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
    return item, user, interest


def _of_events(values: Tensor, histories: Histories) -> Tensor:
    """The one of the `values` [N] of items that belongs to the item of each event, [E]."""
    of_events = values.new_empty(len(histories.item_idx))
    for start in range(0, len(of_events), BLOCK_EVENTS):
        item_idx = torch.from_numpy(histories.item_idx[start : start + BLOCK_EVENTS].astype(np.int64))
        of_events[start : start + BLOCK_EVENTS] = values[item_idx - 1]
    return of_events
