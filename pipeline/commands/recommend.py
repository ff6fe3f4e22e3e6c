"""What a trained backbone recommends: after a history that is written out, to a user of its dataset, or to all."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from eimf import schema
from eimf.data.histories import Histories
from eimf.errors import DataError, SettingError
from eimf.serving.recommend import Recommender
from eimf.store.artifact import Store
from eimf.store.files import remove_stale_files, replacing
from pipeline.commands.table_file import check_ending, table_writer
from pipeline.console import info, progress
from pipeline.stages.load import histories_of

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


def show(
    store: Store, key: str, history: list[str], times: list[float] | None, user: str | None, count: int,
    keep_seen: bool | None = None,
) -> None:  # fmt: skip
    """One row an item that the checkpoint `key` recommends: after this history, or to this user of its dataset.
    `keep_seen` as in `Recommender.recommend`."""
    if bool(history) == (user is not None):
        found = "a history and a user" if history else "neither a history nor a user"
        raise SettingError("recommend", found, "give item ids, oldest first, or --user with an id of the dataset")
    model = Recommender.load(store, key)
    past, clocks = [history], [times] if times else None
    if user is not None:
        users = _users(model)
        if user not in users:
            raise DataError(
                "--user", f"{user[:100]!r} is no user of the dataset", f"give an id such as {users[0][:100]!r}"
            )
        number = users.index(user)
        past, clocks = _past(model, histories_of({"dataset": model.dataset}), range(number, number + 1))
    rows = model.dataset.table("items", [schema.ITEM_ID, schema.TITLE])
    titles = dict(zip(*(rows[name].to_pylist() for name in (schema.ITEM_ID, schema.TITLE)), strict=True))
    best = model.recommend(past, count, times=clocks, keep_seen=keep_seen)[0]
    if not best:
        info("nothing is left to recommend: the history holds every item; --keep-seen lets items of it come back")
        return
    XX


def write_all(store: Store, key: str, path: Path, count: int, keep_seen: bool | None = None) -> None:
    """What the checkpoint `key` recommends to every user of its dataset after all events, as a Parquet, CSV or JSON
    lines file, by its ending."""
    check_ending(path, "--output")
    folder = path.parent.resolve()
    if not folder.is_dir():
        raise SettingError("--output", f"no folder {folder}", "make it, or name a file elsewhere")
    model = Recommender.load(store, key)
    users = _users(model)
    remove_stale_files(folder)
    with replacing(path) as unfinished, table_writer(unfinished, path.suffix, RANKED) as write:
        for rows in _ranked(model, users, count, keep_seen):
            write(rows)
    info(f"{path}: at most {count} items for each of {len(users)} users")


def _ranked(model: Recommender, users: list[str], count: int, keep_seen: bool | None) -> Iterator[pa.Table]:
    histories = histories_of({"dataset": model.dataset})
    with progress("recommending", len(users), "users") as on_progress:
        for first in range(0, len(users), _BLOCK):
            block = range(first, min(first + _BLOCK, len(users)))
            past, clocks = _past(model, histories, block)
            lists = model.recommend(past, count, times=clocks, keep_seen=keep_seen)
            rows = [
                dict(zip(RANKED.names, (users[number], rank, item, score), strict=True))
                for number, best in zip(block, lists, strict=True)
                for rank, (item, score) in enumerate(best, 1)
            ]
            yield pa.Table.from_pylist(rows, RANKED)
            on_progress(len(block))


def _users(model: Recommender) -> list[str]:
    """Ids of the dataset's users."""
    ids: list[str] = model.dataset.table("users", [schema.USER_ID])[schema.USER_ID].to_pylist()
    return ids


def _past(model: Recommender, histories: Histories, users: range) -> tuple[list[list[str]], list[list[float]] | None]:
    """The items of all events of these users, oldest first, and their times where the data has them."""
    spans = [slice(*histories.offsets[user : user + 2]) for user in users]
    items = [[model.items[item - 1] for item in histories.items[span]] for span in spans]
    return items, None if histories.times is None else [histories.times[span].tolist() for span in spans]
