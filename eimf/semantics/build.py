"""From settings and an ESIM artifact to the modules that texts and interests add to a training."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from eimf.backbones.base import Backbone
from eimf.config import HeadSettings
from eimf.data.histories import Histories
from eimf.retrieval import nearest_rows
from eimf.semantics.controls import apply_control, user_text_vectors
from eimf.semantics.heads import EimfHeads
from eimf.semantics.item_text import compose, start_from, whiten
from eimf.semantics.soft_targets import InterestTargets, Neighbours
from eimf.semantics.supervision import Supervision, nearest_interests


@dataclass(frozen=True)
class SideInformation:
    """What a training takes from an ESIM artifact: the modules that `settings` call for, and what supervises them."""

    supervision: Supervision
    settings: HeadSettings
    heads: EimfHeads | None
    near_items: Neighbours | None
    near_history: Neighbours | None
    near_interests: InterestTargets | None

    def to(self, device: torch.device) -> "SideInformation":
        self.modules().to(device)
        return replace(self, supervision=self.supervision.to(device))

    def modules(self) -> nn.ModuleDict:
        found = {
            "heads": self.heads,
            "near_items": self.near_items,
            "near_history": self.near_history,
            "near_interests": self.near_interests,
        }
        return nn.ModuleDict({name: module for name, module in found.items() if module is not None})


def build_side_information(
    backbone: Backbone, supervision: Supervision, histories: Histories, settings: HeadSettings, seed: int,
    device: torch.device | None = None,
) -> SideInformation:  # fmt: skip
    """The modules that `settings` call for; the item table of `backbone` starts from the text, or is composed with it,
    where they say so. Drawn from a stream of their own, so the backbone's start does not depend on them. Nearest texts
    are found on `device`, by default the CPU."""
    width = backbone.item_table.embedding_dim
    found = apply_control(supervision, settings.control, histories, seed) if settings.asks_llm else supervision
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed + 1)
        heads = _heads(found, settings, width)
        if settings.table == "start":
            start_from(backbone, whiten(supervision.item_text, width), settings.text_scale)
        if settings.table == "compose":
            compose(backbone, whiten(supervision.item_text, settings.text_features), settings.text_scale)

    def near(texts: Tensor, weight: Tensor | None = None, *, own: bool = False) -> Neighbours:
        rows, similar = nearest_rows(
            texts.to(device=device), found.item_text.to(device=device), settings.neighbours, exclude_self=own
        )
        return Neighbours(rows.cpu(), similar.cpu(), settings.smooth_temperature, weight)

    def faded(events: np.ndarray) -> Tensor:
        return 1 / (1 + settings.smooth_fade * torch.from_numpy(events).float())

    by_item = faded(histories.frequency())  # [N]
    near_items = near(found.item_text, by_item, own=True) if settings.smooth_text else None
    near_history, near_interests = None, None
    if settings.smooth_history:
        near_history = near(user_text_vectors(supervision, histories), faded(histories.num_train))
    if settings.smooth_interests:
        interests = near(found.semantics.flatten(0, 1))
        of_event = by_item[torch.from_numpy(histories.item_idx) - 1]  # [E]
        near_interests = InterestTargets(nearest_interests(found, histories), interests, of_event)
    return SideInformation(found, settings, heads, near_items, near_history, near_interests)


def _heads(supervision: Supervision, settings: HeadSettings, width: int) -> EimfHeads | None:
    if not max(settings.align_items, settings.align_users, settings.semantic):
        return None
    return EimfHeads(
        item_text=supervision.item_text,
        semantics=supervision.semantics,
        present=supervision.present,
        width=width,
        temperature=settings.temperature,
        contrast_items=settings.contrast_items,
        users=settings.align_users > 0,
        semantic=settings.semantic > 0,
    )
