"""What the options name: the recipe and the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eimf.store.artifact import Store
    from pipeline.recipe import Recipe

DATASET, STORE, BUNDLE = "ml-100k", "artifacts", "bundle"
"""Defaults of the options."""


def recipe_of(
    dataset: str, recipe: Path | None, settings: list[str] | None, backbone: str | None = None,
    preset: str | None = None, keep_seen: bool = False,
) -> Recipe:  # fmt: skip
    """The recipe, with what other options change in it; --set has the last word. Raises UserError."""
    from pipeline.recipe import load_recipe

    chosen = [f'model.backbone="{backbone}"'] if backbone else []
    chosen += [f'heads.preset="{preset}"'] if preset else []
    chosen += ["evaluate.keep_seen=true"] if keep_seen else []
    return load_recipe(dataset, recipe, [*chosen, *(settings or [])])


def store_at(address: str) -> Store:
    """The store in a folder, or in a bucket. Raises UserError."""
    from pipeline.stores import open_store

    return open_store(address)
