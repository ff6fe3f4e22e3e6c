"""What a trained backbone recommends: after a history that is written out, to a user of its dataset, or to all."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eimf import schema
from eimf.errors import DataError, SettingError
from eimf.serve import Recommender
from eimf.store.artifact import Artifact, Store
from pipeline.console import progress, say, table

_BLOCK = 4096
"""Users at a time."""
RANKED = pa.schema(
    [
        pa.field(schema.USER_ID, pa.string(), nullable=False),
        pa.field(schema.RANK, pa.int32(), nullable=False),
        pa.field(schema.ITEM_ID, pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
    ]
)
"""The file of `write_all`: a row for each item recommended, best first, users in the order of their ids."""


@dataclass(frozen=True)
class Past:
    """What users have done, all events: `items` and `times`, oldest first, by user."""

    users: list[str]
    items: list[list[str]]
    times: list[list[float]]


class _Events:
    """The events of a `dataset` artifact by user."""

    def __init__(self, dataset: Artifact, names: list[str]) -> None:
        self.users: list[str] = dataset.table("users", [schema.USER_ID])[schema.USER_ID].to_pylist()
        events = dataset.table("events", [schema.USER, schema.ITEM, schema.TIMESTAMP])
        self._starts = np.searchsorted(events[schema.USER].to_numpy(), np.arange(len(self.users) + 1))
        self._items, self._names = events[schema.ITEM].to_numpy(), np.array(names, dtype=object)
        self._times = events[schema.TIMESTAMP].to_numpy()

    def past(self, first: int, end: int) -> Past:
        """Of users number `first` to `end`."""
        spans = [slice(*self._starts[user : user + 2]) for user in range(first, end)]
        items = [self._names[self._items[span] - 1].tolist() for span in spans]
        return Past(self.users[first:end], items, [self._times[span].tolist() for span in spans])


def show(store: Store, key: str, history: list[str], times: list[float] | None, user: str | None, count: int) -> None:
    """One row an item that the checkpoint `key` recommends: after this history, or to this user of its dataset."""
    if bool(history) == (user is not None):
        found = "a history and a user" if history else "neither a history nor a user"
        raise SettingError("recommend", found, "give item ids, oldest first, or --user with an id of the dataset")
    model, dataset = _load(store, key)
    if user is not None:
        events = _Events(dataset, model.items)
        if user not in events.users:
            raise DataError("--user", f"{user!r} is no user of the dataset", f"give an id such as {events.users[0]!r}")
        number = events.users.index(user)
        past = events.past(number, number + 1)
    else:
        past = Past([""], [history], [times or []])
    rows = dataset.table("items", [schema.ITEM_ID, schema.TITLE])
    titles = dict(zip(*(rows[name].to_pylist() for name in (schema.ITEM_ID, schema.TITLE)), strict=True))
    known = past.times if user is not None or times else None
    best = model.recommend(past.items, count, times=known)[0]
    table(["item", "score", "title"], [[item, f"{score:.3f}", titles[item] or ""] for item, score in best])


def write_all(store: Store, key: str, path: Path, count: int) -> None:
    """What the checkpoint `key` recommends to every user of its dataset after all events, as a Parquet file."""
    if not path.resolve().parent.is_dir():
        raise SettingError("--everyone", f"no folder {path.resolve().parent}", "make it, or name a file elsewhere")
    model, dataset = _load(store, key)
    events = _Events(dataset, model.items)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with pq.ParquetWriter(unfinished, RANKED, compression="zstd") as writer:
            for rows in _ranked(model, events, count):
                writer.write_table(rows)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    say(f"{path}: at most {count} items for each of {len(events.users)} users")


def _ranked(model: Recommender, events: _Events, count: int) -> Iterator[pa.Table]:
    with progress("recommending", len(events.users), "users") as tick:
        for first in range(0, len(events.users), _BLOCK):
            past = events.past(first, min(first + _BLOCK, len(events.users)))
            found = model.recommend(past.items, count, times=past.times if model.backbone.timed else None)
            rows = [
                dict(zip(RANKED.names, (user, rank, item, score), strict=True))
                for user, best in zip(past.users, found, strict=True)
                for rank, (item, score) in enumerate(best, 1)
            ]
            yield pa.Table.from_pylist(rows, RANKED)
            tick(len(past.users))


def _load(store: Store, key: str) -> tuple[Recommender, Artifact]:
    checkpoint = store.get("checkpoint", key)
    dataset = store.get("dataset", checkpoint.manifest.parents["dataset"])
    return Recommender(checkpoint, dataset), dataset
