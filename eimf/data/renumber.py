"""New numbers that continue old ones: users and items of an earlier dataset keep theirs, and new ones come after them.

So everything that was computed by number before, such as a checkpoint's item table or the cluster of a user, still
holds. An old user without an event that is left has an empty history, and an old item without one is never a target.

Shapes: E used events, U users, N items.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from eimf import schema
from eimf.data.eval_cases import EvalCases
from eimf.data.select import Selected
from eimf.data.split import Split
from eimf.data.windows import flat_ranges, row_blocks
from eimf.scratch import IN_MEMORY, Scratch, let_go

_ROW, _PLACE = "row", "place"


@dataclass(frozen=True)
class Numbering:
    """The ids of an earlier dataset, in the order of their numbers."""

    user_ids: pl.Series
    item_ids: pl.Series


def renumber(used: Selected, parts: Split, before: Numbering, scratch: Scratch = IN_MEMORY) -> tuple[Selected, Split]:
    """The same events and the same split of them, with the numbers of `before` continued. An old item that is not in
    the item table any more has no text."""
    user_ids, user_place = _continued(before.user_ids, used.user_ids, schema.USER_ID)
    item_ids, item_place = _continued(before.item_ids, used.items[schema.ITEM_ID], schema.ITEM_ID)
    user_idx, item_idx = _numbers(user_place, len(used.user_ids)), _numbers(item_place, len(used.items)) + 1
    present = user_place >= 0
    begin, length = (np.zeros(len(user_place), np.int64) for _ in range(2))
    begin[present], length[present] = used.offsets[user_place[present]], np.diff(used.offsets)[user_place[present]]
    num_train = np.zeros(len(user_place), parts.num_train.dtype)
    num_train[present] = parts.num_train[user_place[present]]
    new_items = scratch.empty(len(used.item_idx), np.int32)
    timestamps = None if used.timestamps is None else scratch.empty(len(new_items), used.timestamps.dtype)
    offsets = np.concatenate([[0], np.cumsum(length)])
    for users in row_blocks(length, scratch.rows):
        _, event = flat_ranges(begin[users], length[users])
        new_items[offsets[users.start] : offsets[users.stop]] = item_idx[used.item_idx[event] - 1]
        if timestamps is not None and used.timestamps is not None:
            timestamps[offsets[users.start] : offsets[users.stop]] = used.timestamps[event]
        let_go(new_items, used.item_idx, timestamps, used.timestamps)
    items = pl.DataFrame({schema.ITEM_ID: item_ids})
    renumbered = replace(
        used,
        item_idx=new_items,
        offsets=offsets,
        timestamps=timestamps,
        user_ids=user_ids,
        items=items.join(used.item_rows, on=schema.ITEM_ID, how="left", maintain_order="left"),
    )
    cases = {name: _renumbered_cases(of_split, user_idx, item_idx) for name, of_split in parts.cases.items()}
    return renumbered, Split(num_train, cases, parts.counts)


def _renumbered_cases(cases: EvalCases, user_idx: np.ndarray, item_idx: np.ndarray) -> EvalCases:
    """The cases with these new numbers of users and items [from 0], sorted by user as before."""
    users = user_idx[cases.user_idx]
    order = np.argsort(users, kind="stable")
    length = np.diff(cases.offsets)[order]
    _, relevant = flat_ranges(cases.offsets[:-1][order], length)
    offsets = np.concatenate([[0], np.cumsum(length)])
    return EvalCases(users[order], cases.history_end[order], offsets, item_idx[cases.item_idx[relevant] - 1])


def _numbers(place: np.ndarray, count: int) -> np.ndarray:
    """The number from 0 of what is at each of `count` places."""
    numbers = np.zeros(count, np.int64)
    numbers[place[place >= 0]] = np.flatnonzero(place >= 0)
    return numbers


def _continued(before: pl.Series, now: pl.Series, name: str) -> tuple[pl.Series, np.ndarray]:
    """The ids of `before` and then those that are new, and the place of each in `now`, -1 if it is not there."""
    frame = pl.DataFrame({name: now}).with_row_index(_PLACE)
    new = frame.join(pl.DataFrame({name: before}), on=name, how="anti", maintain_order="left")[name]
    every = pl.concat([before.cast(now.dtype), new])
    place = pl.DataFrame({name: every}).join(frame, on=name, how="left", maintain_order="left")[_PLACE]
    return every, place.cast(pl.Int64).fill_null(-1).to_numpy()
