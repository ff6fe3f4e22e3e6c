"""From settings to modules."""

import inspect
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from torch import Tensor

from eimf.config import HeadSettings, ModelSettings
from eimf.errors import SettingError, refusal
from eimf.models.backbone import Backbone
from eimf.models.catalogue import BACKBONES
from eimf.models.heads import EimfHeads
from eimf.models.soft_targets import InterestTargets, Neighbours
from eimf.models.text import compose, start_from, whiten
from eimf.retrieval import nearest
from eimf.train.controls import derive, own_texts
from eimf.train.objective import Semantics
from eimf.train.sequences import Histories
from eimf.train.supervision import Supervision, nearest_interests

_COMMON = ("items", "width", "max_length", "dropout")


def options_of(backbone: str) -> type[BaseModel]:
    """A backbone's own settings, read from its constructor: names, types, defaults. Raises SettingError."""
    if backbone not in BACKBONES:
        raise SettingError("model.backbone", f"{backbone!r} is not known", f"use one of {', '.join(BACKBONES)}")
    parameters = inspect.signature(BACKBONES[backbone]).parameters
    fields: dict[str, Any] = {
        name: (each.annotation, each.default) for name, each in parameters.items() if name not in _COMMON
    }
    return create_model(backbone, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)


def chosen_options(settings: ModelSettings) -> dict[str, Any]:
    """Every option of the chosen backbone with its value. Raises SettingError."""
    options = options_of(settings.backbone)
    for name in settings.options.keys() - BACKBONES.keys():
        raise SettingError(f"model.options.{name}", "no backbone has this name", f"use one of {', '.join(BACKBONES)}")
    field = f"model.options.{settings.backbone}"
    try:
        return options.model_validate(settings.options.get(settings.backbone, {})).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{field}.{first['loc'][0]}"
        if first["type"] == "extra_forbidden":
            raise SettingError(name, "unknown option", f"use one of {sorted(options.model_fields)}") from error
        raise SettingError(name, *refusal(first)) from error


def chosen_dropout(settings: ModelSettings) -> float:
    """The settings' dropout, or else the backbone's."""
    return BACKBONES[settings.backbone].usual_dropout if settings.dropout is None else settings.dropout


def model_configuration(settings: ModelSettings) -> dict[str, Any]:
    """The settings that the chosen backbone reads, defaults filled in: what belongs into a key. Raises SettingError
    where the backbone refuses them."""
    outline(settings, items=1)
    options = {settings.backbone: chosen_options(settings)}
    return {**settings.model_dump(mode="json"), "dropout": chosen_dropout(settings), "options": options}


def outline(settings: ModelSettings, items: int) -> Backbone:
    """The backbone with the names, shapes and types of its weights, and no memory for them. Raises SettingError."""
    with torch.device("meta"):
        return build_backbone(settings, items, seed=0)


def build_backbone(settings: ModelSettings, items: int, seed: int) -> Backbone:
    """A new backbone with weights drawn from `seed`; the caller's random state is left alone. Raises SettingError."""
    options = chosen_options(settings)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            return BACKBONES[settings.backbone](
                items=items, width=settings.width, max_length=settings.max_length, dropout=chosen_dropout(settings),
                **options,
            )  # type: ignore[call-arg]  # fmt: skip
        except ValueError as error:
            found, _, remedy = str(error).partition("; ")
            raise SettingError(f"model ({settings.backbone})", found, remedy) from error


def build_semantics(
    backbone: Backbone, supervision: Supervision, histories: Histories, settings: HeadSettings, seed: int,
    device: torch.device | None = None,
) -> Semantics:  # fmt: skip
    """The modules that `settings` call for; the item table of `backbone` starts from the text, or is composed with it,
    where they say so. Drawn from a stream of their own, so the backbone's start does not depend on them. Nearest texts
    are found on `device`, by default the CPU."""
    width = backbone.item_table.embedding_dim
    found = derive(supervision, settings.control, histories, seed) if settings.asks_llm else supervision
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed + 1)
        heads = _heads(found, settings, width)
        if settings.table == "start":
            start_from(backbone, whiten(supervision.item_text, width), settings.text_scale)
        if settings.table == "compose":
            compose(backbone, whiten(supervision.item_text, settings.text_features), settings.text_scale)

    def near(texts: Tensor, weight: Tensor | None = None, *, own: bool = False) -> Neighbours:
        rows, similar = nearest(
            texts.to(device=device), found.item_text.to(device=device), settings.neighbours, own=own
        )
        return Neighbours(rows.cpu(), similar.cpu(), settings.smooth_temperature, weight)

    def faded(events: np.ndarray) -> Tensor:
        return 1 / (1 + settings.smooth_fade * torch.from_numpy(events).float())

    by_item = faded(histories.frequency())  # [N]
    near_items = near(found.item_text, by_item, own=True) if settings.smooth_text else None
    near_history, near_interests = None, None
    if settings.smooth_history:
        near_history = near(own_texts(supervision, histories), faded(histories.trained))
    if settings.smooth_interests:
        interests = near(found.semantics.flatten(0, 1))
        of_event = by_item[torch.from_numpy(histories.items) - 1]  # [E]
        near_interests = InterestTargets(nearest_interests(found, histories), interests, of_event)
    return Semantics(found, settings, heads, near_items, near_history, near_interests)


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
