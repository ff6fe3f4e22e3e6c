"""Refuse in one line to read item texts where there are none, before an encoder or an LLM starts."""

from eimf.errors import DataError
from eimf.store.artifact import Artifact
from pipeline.recipe import Recipe
from pipeline.stages.raw_files import resolve_files


def require_item_table(recipe: Recipe, reader: str) -> None:
    """Raise DataError if the raw files have no item table for `reader`, which reads texts. Only looks at names of
    files."""
    if recipe.dataset.items is None and not resolve_files(recipe.dataset, recipe.folder).item_files:
        raise _no_texts("there is no item table", reader)


def require_texts(dataset: Artifact, reader: str) -> None:
    """Raise DataError if no item of the `dataset` has a text for `reader`."""
    if dataset.summary_number("untitled") == dataset.summary_number("items"):
        raise _no_texts("no item has a title or another text", reader)


def _no_texts(problem: str, reader: str) -> DataError:
    hint = "name a table with the items' titles, or train with PRESET=plain, which reads no texts"
    return DataError("dataset.items", f"{problem}, and {reader} reads texts", hint)
