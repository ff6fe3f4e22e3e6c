"""Stores and datasets."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.data.histories import Histories
from eimf.errors import SettingError
from eimf.store.artifact import Artifact, Store
from pipeline import stores
from pipeline.api.call import Settings, call, with_settings
from pipeline.api.display import table_html, titled_html
from pipeline.api.table_files import draft_of_tables, is_table
from pipeline.histories import read_dataset
from pipeline.recipe import Draft, Recipe, read_draft
from pipeline.report.tables import Table
from pipeline.stages.resolve import find_or_build_dataset

_TABLES = "tables"
"""The folder of a store with tables that were given in memory."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset in a store: numbered users and items, ordered events, a split. Its settings hold for whatever is made
    of it."""

    store: Store
    draft: Draft
    artifact: Artifact

    @property
    def recipe(self) -> Recipe:
        """All settings."""
        return self.draft.recipe()

    @property
    def name(self) -> str:
        return self.recipe.dataset.name

    @property
    def items(self) -> pa.Table:
        """Ids, titles and texts of the items, in the order of their numbers."""
        return self.artifact.table("items")

    @property
    def users(self) -> pa.Table:
        """Ids of the users in the order of their numbers, how many events each has, and how many are for training."""
        return self.artifact.table("users")

    @cached_property
    def histories(self) -> Histories:
        """Events and evaluation cases as arrays of numbers, mapped into memory."""
        return read_dataset(self.artifact)

    @property
    def events(self) -> pa.Table:
        """`user_id`, `item_id` and, if there are any, `timestamp` of every event, user by user, in order."""
        read, user_ids, item_ids = self.histories, self.users[schema.USER_ID], self.items[schema.ITEM_ID]
        columns = {
            schema.USER_ID: user_ids.take(pa.array(np.repeat(np.arange(read.num_users), np.diff(read.offsets)))),
            schema.ITEM_ID: item_ids.take(pa.array(read.item_idx - 1)),
        }
        times = {} if read.timestamps is None else {schema.TIMESTAMP: pa.array(read.timestamps)}
        return pa.table({**columns, **times})

    def __repr__(self) -> str:
        users, items, events = (int(self.artifact.summary_number(name)) for name in ("users", "items", "events"))
        counts = f"{users:,} users, {items:,} items, {events:,} events, {self.recipe.split.protocol}"
        return f"Dataset {self.name!r}: {counts}, key {self.artifact.short}"

    def _repr_html_(self) -> str:
        names = ("users", "items", "events", "removed", "test_targets", "repeated_targets")
        summary = self.artifact.manifest.summary
        rows = tuple((name.replace("_", " "), (f"{summary[name]:,}",)) for name in names if name in summary)
        return titled_html(repr(self), [table_html(Table("", ("count",), rows))])


def open_store(address: str | Path = "artifacts") -> Store:
    """The store at `address`, a folder or `s3://BUCKET/PREFIX`. Raises SettingError for another address.

    >>> api.open_store("artifacts")
    Store('artifacts')
    """
    with call("status"):
        return stores.open_store(address)


def load_dataset(
    source: Any,
    items: Any = None,
    *,
    store: Store | Path | str = "artifacts",
    name: str | None = None,
    settings: Settings | None = None,
    progress: bool = True,
) -> Dataset:
    """Read, clean, number and split a dataset, unless the `store` has it (stage 1).

    `source` is the name of a built-in dataset, a recipe (`.toml`), a folder, archive or file, or a table of events
    (pyarrow, polars, pandas), with a table of `items` if they have titles. Tables have the columns `user_id`, `item_id`
    and one of order or time; `settings` names others, and everything else of a recipe. `name` is `dataset.name`.
    Raises SettingError and DataError.

    >>> api.load_dataset(interactions, items, store=store, name="hobbies")
    Dataset 'hobbies': 90 users, 48 items, 1,126 events, leave-one-out, key ...
    """
    with call("esim", progress):
        opened = store if isinstance(store, Store) else stores.open_store(store)
        draft = with_settings(_draft(source, items, opened), settings, {"dataset.name": name})
        return Dataset(opened, draft, find_or_build_dataset(draft.recipe(), opened))


def _draft(source: Any, items: Any, store: Store) -> Draft:
    """The recipe of a source, without further settings."""
    if isinstance(source, str | Path):
        if items is not None:
            hint = 'name the file of items by settings={"dataset.items": ...}'
            raise SettingError("items", "a table of items, but the events are no table", hint)
        is_recipe = str(source).endswith(".toml")
        return read_draft("" if is_recipe else str(source), Path(source) if is_recipe else None)
    if not is_table(source):
        problem = f"{type(source).__name__} is neither a name, nor a path, nor a table"
        raise SettingError("source", problem, "give one of these; a table is one of pyarrow, polars or pandas")
    return draft_of_tables(source, items, store.root / _TABLES)
