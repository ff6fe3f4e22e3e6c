"""What all calls of the interface share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from eimf.errors import SettingError
from eimf.store.artifact import Store
from pipeline.console import quiet
from pipeline.missing import missing_package
from pipeline.recipe import Draft
from pipeline.written_settings import flat_settings

Settings = Mapping[str, Any]
"""`{"train.lr": 4e-3}` or `{"train": {"lr": 4e-3}}`, as in a recipe."""
_ORIGIN = "settings"


@contextmanager
def call(command: str, progress: bool = True) -> Iterator[None]:
    """Around what `eimf COMMAND` does. Prints as that does, unless `progress` is false; raises MissingError for a
    package that is not installed."""
    try:
        with quiet(not progress):
            yield
    except ModuleNotFoundError as error:
        missing = missing_package(error, command)
        if missing is None:
            raise
        raise missing from error


def with_settings(draft: Draft, settings: Settings | None, keywords: Mapping[str, Any]) -> Draft:
    """A draft with the settings that were given as keywords, by their dotted names, None for no choice, and then with
    `settings`. Raises SettingError."""
    chosen = [(name, value) for name, value in keywords.items() if value is not None]
    flat = flat_settings(settings or {}, _ORIGIN)
    for name, _ in chosen:
        if any(name == other for other, _ in flat):
            raise SettingError(name, "given as a keyword and in settings", "give one of them")
    return draft.changed([*chosen, *flat], _ORIGIN)


def same_store(stores: list[Store]) -> Store:
    """The store of all. Raises SettingError if they are several."""
    if len({store.address for store in stores}) > 1:
        problem = f"{stores[0].address} and {stores[1].address} are two stores"
        raise SettingError("store", problem, "load every dataset into the same store")
    return stores[0]
