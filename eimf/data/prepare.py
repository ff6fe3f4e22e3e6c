"""From typed events and items to the `dataset` artifact: clean, order, number, split, and write each item's text.

Shapes: E used events, U users, N items.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.config import CleaningSettings, DatasetSettings, SplitSettings, TextSettings
from eimf.data.eval_cases import eval_cases_table
from eimf.data.formats.base import RawData
from eimf.data.histories import Histories, read_histories
from eimf.data.item_text import item_texts
from eimf.data.notices import item_notices
from eimf.data.order import Ties
from eimf.data.read import item_columns, read_items, reader_of
from eimf.data.renumber import Numbering, renumber
from eimf.data.select import Selected, select_events
from eimf.data.split import split_events
from eimf.data.text_template import parse_template
from eimf.scratch import IN_MEMORY, Scratch


@dataclass(frozen=True)
class Prepared:
    """The `dataset` artifact: arrays, and tables with the schemas of eimf/schema.py.

    `item_idx` [E] int32 user by user in order, `offsets` [U + 1], `num_train` [U], `timestamps` [E] in seconds or None.
    `removed` is None unless it was asked for. `counts` are for the manifest; `notices` are lines about odd data that is
    used as it is.
    """

    item_idx: np.ndarray
    offsets: np.ndarray
    num_train: np.ndarray
    timestamps: np.ndarray | None
    eval_cases: pa.Table
    items: pa.Table
    users: pa.Table
    cleaning: pa.Table
    removed: pa.Table | None
    counts: dict[str, float]
    notices: tuple[str, ...]

    def histories(self) -> Histories:
        """What training and evaluation read of it."""
        return read_histories(
            self.item_idx, self.users, self.eval_cases, num_items=self.items.num_rows, timestamps=self.timestamps
        )


def prepare_files(
    raw: RawData,
    dataset: DatasetSettings,
    cleaning: CleaningSettings,
    split: SplitSettings,
    text: TextSettings,
    before: Numbering | None = None,
    scratch: Scratch = IN_MEMORY,
) -> Prepared:
    """Read the files and `prepare` what they hold, with the numbers of `before` continued. Raises DataError and
    SettingError in one line."""
    items: pl.DataFrame | None = None
    names: list[str] = []
    if raw.item_files:
        columns, names = item_columns(raw.item_format, raw.item_files, dataset, text.columns)
        items = read_items(raw.item_format, raw.item_files, columns, names, dataset.table)
    return prepare(
        reader_of(raw.format, dataset, cleaning, split.protocol).read(raw.event_files),
        items,
        cleaning=cleaning,
        split=split,
        text=text,
        text_columns=tuple(names),
        ties=Ties(dataset.ties_seed if dataset.ties == "shuffled" else None),
        before=before,
        scratch=scratch,
    )


def prepare(
    events: Iterable[pl.DataFrame],
    items: pl.DataFrame | None,
    *,
    cleaning: CleaningSettings = CleaningSettings(),
    split: SplitSettings = SplitSettings(),
    text: TextSettings = TextSettings(),
    text_columns: tuple[str, ...] = (),
    ties: Ties = Ties(),
    before: Numbering | None = None,
    scratch: Scratch = IN_MEMORY,
) -> Prepared:
    """Clean the events, number users and items, split, and write each item's text.

    `events` and `items` are as `eimf.data.read` returns them; without an item table, the items are those of the events.
    `text_columns` are the names of the text columns of `items`. `before` are the numbers of an earlier dataset. Arrays
    of events are of `scratch`. Raises DataError on bad rows unless they are to be rejected, and if nothing is left."""
    if text.template is not None:
        parse_template(text.template, text_columns)  # before anything is read
    used = select_events(events, items, cleaning, ties, scratch)
    parts = split_events(
        used.item_idx,
        used.offsets,
        split,
        times=used.timestamps,
        given=used.given,
        first_row=used.first_row,
        scratch=scratch,
    )
    if before is not None:
        used, parts = renumber(used, parts, before, scratch)
    texts = item_texts(used.items, text_columns, text)
    item_table = texts.items.with_columns(pl.int_range(1, len(used.items) + 1, dtype=pl.Int32).alias(schema.ITEM))
    counts = {"removed": used.num_removed, "tied": round(used.tied, 4)}
    counts |= {"cleaned": texts.cleaned, "cut": texts.cut, "untitled": texts.untitled}
    return Prepared(
        item_idx=used.item_idx,
        offsets=used.offsets,
        num_train=parts.num_train,
        timestamps=used.timestamps,
        eval_cases=eval_cases_table(parts.cases),
        items=_arrow(item_table, schema.ITEMS),
        users=_users(used, parts.num_train),
        cleaning=used.cleaning,
        removed=used.removed,
        counts=counts | parts.counts,
        notices=(*used.notices, *item_notices(item_table)),
    )


def _users(used: Selected, num_train: np.ndarray) -> pa.Table:
    lengths = np.diff(used.offsets)
    frame = pl.DataFrame({schema.USER_ID: used.user_ids, schema.NUM_EVENTS: lengths, schema.NUM_TRAIN: num_train})
    return _arrow(frame.with_columns(pl.int_range(len(frame)).alias(schema.USER)), schema.USER_IDS)


def _arrow(frame: pl.DataFrame, target: pa.Schema) -> pa.Table:
    return frame.select(target.names).to_arrow().cast(target)
