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
from eimf.semantics.item_text import TEXT_COMPONENTS, add_text_adaptor, add_text_residual, init_from_text
from eimf.semantics.soft_targets import (
    InterestNeighbors,
    Neighbors,
    frequency_decay,
    neighbors_by_cooccurrence,
    neighbors_of,
    neighbors_of_users,
    picked_items,
)
from eimf.semantics.supervision import Supervision, clusters_with_picks, nearest_interests
from eimf.semantics.text_space import compared_items, in_encoder_space, item_components, joint_components


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
    picked_items: InterestNeighbors | None = None
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
            (smoothing.cooccurrence, self.cooccurring, item_row),
            (smoothing.pick, self.picked_items, event),
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
    need no artifact of stage one. `device` (default: the CPU) is where nearest texts are searched."""
    smoothing = settings.smoothing
    cooccurring = neighbors_by_cooccurrence(histories) if smoothing and smoothing.cooccurrence else None
    if supervision is None:
        assert settings.source is None
        return SideInformation(None, settings, cooccurring=cooccurring)
    compared = in_encoder_space(supervision, settings.texts)
    if settings.uses_interests or settings.uses_picks:
        compared = apply_control(compared, settings.control, histories, seed)
        supervision = apply_control(supervision, settings.control, histories, seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed + 1)
        aligned = compared if settings.texts.align else supervision
        heads = None
        if settings.alignment:
            heads = _heads(aligned, settings.alignment, backbone.item_table.embedding_dim)
        _prepare_item_table(backbone, supervision, settings)
    items = compared_items(supervision, settings.texts) if settings.smoothing else None
    return SideInformation(
        supervision, settings, heads, *_neighbors(compared, items, histories, smoothing, device), cooccurring
    )


def _prepare_item_table(backbone: Backbone, supervision: Supervision, settings: HeadSettings) -> None:
    """Bring the items' texts into the item table of `backbone`, as `item_init` says."""
    if settings.item_init == "random":
        return
    if settings.item_init == "text":
        init_from_text(backbone, joint_components(supervision, settings.texts, backbone.item_table.embedding_dim))
        return
    components = item_components(supervision, settings.texts, TEXT_COMPONENTS)
    if settings.item_init == "text_residual":
        add_text_residual(backbone, components)
    else:
        add_text_adaptor(backbone, components, free=settings.item_init == "text_adaptor_residual")


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
    compared: Supervision,
    items: Tensor | None,
    histories: Histories,
    smoothing: SmoothingSettings | None,
    device: torch.device | None,
) -> tuple[Neighbors | None, Neighbors | None, InterestNeighbors | None, InterestNeighbors | None]:
    """The neighbors of items, users and interests by their texts, and the picks, as far as label smoothing needs them.
    Items and users are compared by `items` [N, W], interests within `compared`."""
    item, user, interest, picked = None, None, None, None
    if smoothing is None or items is None:
        return item, user, interest, picked
    item_decay = frequency_decay(histories.frequency())  # [N]
    if smoothing.item:
        item = neighbors_of(items, items, item_decay, exclude_self=True, device=device)
    if smoothing.user:
        user = neighbors_of_users(items, histories, device=device)
    if smoothing.interest:
        interests = compared.interest_vectors.flatten(0, 1)
        neighbors = neighbors_of(interests, compared.item_text_vectors, device=device)
        event_decay = _of_events(item_decay, histories)
        interest = InterestNeighbors(nearest_interests(compared, histories), neighbors, event_decay)
    if smoothing.pick and compared.offered is not None:
        cluster = clusters_with_picks(compared, histories)
        picked = InterestNeighbors(cluster, picked_items(compared.offered), _of_events(item_decay, histories))
    return item, user, interest, picked


def _of_events(values: Tensor, histories: Histories) -> Tensor:
    """The one of the `values` [N] of items that belongs to the item of each event, [E]."""
    of_events = values.new_empty(len(histories.item_idx))
    for start in range(0, len(of_events), BLOCK_EVENTS):
        item_idx = torch.from_numpy(histories.item_idx[start : start + BLOCK_EVENTS].astype(np.int64))
        of_events[start : start + BLOCK_EVENTS] = values[item_idx - 1]
    return of_events
