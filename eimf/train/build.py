"""From settings to modules: the one place where a backbone's name meets its class."""

import torch

from eimf.config import HeadSettings, ModelSettings
from eimf.models.backbone import Backbone
from eimf.models.comirec_sa import ComiRecSA
from eimf.models.heads import EimfHeads
from eimf.models.sasrec import SASRec
from eimf.train.supervision import Supervision


def build_backbone(settings: ModelSettings, items: int, seed: int) -> Backbone:
    """A new backbone with weights drawn from `seed`; the caller's random state is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _backbone(settings, items)


def _backbone(settings: ModelSettings, items: int) -> Backbone:
    common = {"items": items, "width": settings.width, "max_length": settings.max_length}
    if settings.backbone == "sasrec":
        own = settings.sasrec
        return SASRec(
            **common,
            dropout=settings.dropout,
            layers=own.layers,
            heads=own.heads,
            feed_forward=own.feed_forward,
        )
    other = settings.comirec_sa
    return ComiRecSA(**common, dropout=settings.dropout, interests=other.interests, hidden=other.hidden)


def build_heads(supervision: Supervision, settings: HeadSettings, width: int, seed: int) -> EimfHeads:
    """New EIMF heads over `supervision`; drawn from a stream of their own, so the backbone's start does not depend
    on them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        return EimfHeads(
            item_text=supervision.item_text,
            semantics=supervision.semantics,
            present=supervision.present,
            width=width,
            temperature=settings.temperature,
            contrast_items=settings.contrast_items,
        )
