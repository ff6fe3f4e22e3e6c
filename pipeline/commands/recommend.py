"""The command `recommend`: items for a history, for a user of the dataset, or for all its users."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute

from eimf import schema
from eimf.data.histories import Histories
from eimf.errors import DataError, SettingError
from eimf.serving.recommend import Recommender
from eimf.serving.result import Recommendations
from eimf.store.artifact import Artifact, Store
from eimf.store.files import remove_stale_files, replacing
from pipeline.commands.table_file import check_ending, table_writer
from pipeline.console import info, progress
from pipeline.report.tables import Number, Table
from pipeline.report.text import format_table
from pipeline.serving import recommender_of
from pipeline.stages.load import histories_of
from pipeline.trained import dataset_of, find_model

_BLOCK = 4096
"""Users at a time."""
RANKED = pa.schema(
    [
        pa.field(schema.USER_ID, pa.string(), nullable=False),
        pa.field(schema.RANK, pa.int32(), nullable=False),
        pa.field(schema.ITEM_ID, pa.string(), nullable=False),
        pa.field(schema.SCORE, pa.float32(), nullable=False),
    ]
)
"""The file of `write_all`: a row for each item recommended, best first, users in the order of their ids."""


def show(
    store: Store,
    key: str,
    history: list[str],
    times: list[float] | None,
    user: str | None,
    count: int,
    keep_seen: bool | None = None,
) -> None:
    """Print the items that the model `key` recommends after a history, or to a user of its dataset. With
    `keep_seen`, items of the history may be recommended again; None: as in training."""
    check_asked(history, user)
    model, dataset = _load(store, key)
    answer = recommend_one(model, dataset, history, times, user, count, keep_seen)
    if answer.unknown:
        info(f"unknown items are skipped: {', '.join(answer.unknown)[:300]}")
    if not answer.items:
        info("nothing is left to recommend: the history holds every item; --keep-seen recommends items of it again")
        return
    rows = [(item.item_id, (Number(item.score, 3), model.catalogue.title(item.item_id) or "")) for item in answer.items]
    info(format_table(Table("item", ("score", "title"), tuple(rows))))


def check_asked(history: Sequence[str], user: str | None) -> None:
    """Raise SettingError unless either a history or a user is given."""
    if bool(history) == (user is not None):
        problem = "a history and a user" if history else "neither a history nor a user"
        raise SettingError("recommend", problem, "give item ids, oldest first, or --user with an id of the dataset")


def recommend_one(
    model: Recommender,
    dataset: Artifact,
    history: Sequence[str],
    times: Sequence[float] | None,
    user: str | None,
    count: int,
    keep_seen: bool | None,
) -> Recommendations:
    """The items for a history, or for a user of the `dataset` after all events. Raises DataError for an unknown
    user."""
    if user is not None:
        history, times = _of_user(model, dataset, user)
    exclude_seen = None if keep_seen is None else not keep_seen
    return model.recommend_one(history, count, times=times or None, exclude_seen=exclude_seen)


def write_all(store: Store, key: str, path: Path, count: int, keep_seen: bool | None = None) -> None:
    """Write the items that the model `key` recommends to every user of its dataset after all events, to a Parquet,
    CSV or JSON lines file, by its ending."""
    check_ending(path, "--output")
    folder = path.parent.resolve()
    if not folder.is_dir():
        raise SettingError("--output", f"no folder {folder}", "make it, or name a file elsewhere")
    model, dataset = _load(store, key)
    remove_stale_files(folder)
    with replacing(path) as unfinished, table_writer(unfinished, path.suffix, RANKED) as write:
        for rows in recommend_all(model, dataset, count, keep_seen):
            write(rows)
    users = dataset.summary_number("users")
    info(f"{path}: at most {count} items for each of {users} users")


def _load(store: Store, key: str) -> tuple[Recommender, Artifact]:
    """The recommender of a checkpoint or calibration, and the dataset that it was trained on."""
    model = find_model(store, key)
    dataset = dataset_of(store, model)
    return recommender_of(model, dataset), dataset


def _of_user(model: Recommender, dataset: Artifact, user: str) -> tuple[list[str], list[float] | None]:
    """All events of a user of the dataset: item ids, and times if it has any. Raises DataError for an unknown user."""
    histories, user_idx = histories_of({"dataset": dataset}), _user_idx(dataset, user)
    events = slice(histories.offsets[user_idx], histories.offsets[user_idx + 1])
    times = None if histories.timestamps is None else histories.timestamps[events].astype(np.float64).tolist()
    return [model.item_ids[item_idx - 1] for item_idx in histories.item_idx[events].tolist()], times


def _user_idx(dataset: Artifact, user: str) -> int:
    """Raises DataError for an id that the dataset does not have."""
    ids = dataset.table("users", [schema.USER_ID])[schema.USER_ID]
    wanted = user.encode(errors="surrogatepass")  # an argument may hold bytes that are no text
    user_idx: int = compute.index(ids.cast(pa.binary()), wanted).as_py()
    if user_idx < 0:
        problem = f"{user[:100]!r} is no user of the dataset"
        raise DataError("--user", problem, f"give an id such as {ids[0].as_py()[:100]!r}")
    return user_idx


def _rank(
    model: Recommender, histories: Histories, users: range, count: int, keep_seen: bool | None
) -> tuple[np.ndarray, np.ndarray]:
    """`Recommender.rank` for all events of some users."""
    offsets = histories.offsets[users.start : users.stop + 1]
    events = slice(offsets[0], offsets[-1])
    times = None if histories.timestamps is None else histories.timestamps[events].astype(np.float64)
    exclude_seen = None if keep_seen is None else not keep_seen
    return model.rank(histories.item_idx[events], np.diff(offsets), times=times, count=count, exclude_seen=exclude_seen)


def recommend_all(
    model: Recommender, dataset: Artifact, count: int, keep_seen: bool | None = None
) -> Iterator[pa.Table]:
    """`RANKED` for every user of the `dataset` after all events, one block of users after another."""
    item_ids, histories = pa.array(model.item_ids, pa.string()), histories_of({"dataset": dataset})
    user_ids = dataset.table("users", [schema.USER_ID])[schema.USER_ID]
    with progress("recommending", histories.num_users, "users") as on_progress:
        for start in range(0, histories.num_users, _BLOCK):
            users = range(start, min(start + _BLOCK, histories.num_users))
            item_idx, scores = _rank(model, histories, users, count, keep_seen)
            row, column = np.nonzero(item_idx)
            columns = [
                user_ids.take(pa.array(row + start)),
                pa.array(column + 1, pa.int32()),
                item_ids.take(pa.array(item_idx[row, column] - 1)),
                pa.array(scores[row, column]),
            ]
            yield pa.table(columns, schema=RANKED)
            on_progress(len(users))
