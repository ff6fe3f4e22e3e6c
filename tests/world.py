"""A planted world: every user's next item and interests are known in advance.

Items form groups; each group is a cycle. A user has two groups and alternates between them, in each going round the
cycle by one. So the next item follows from the last item of the other group, and a title names its group.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.data.histories import Histories
from eimf.data.prepare import Prepared, prepare
from eimf.data.split import leave_one_out as split_leave_one_out
from pipeline.recipe import Recipe, load_recipe

GROUPS = ("jazz trumpet", "garden roses", "space rockets", "river fishing", "chess openings", "bread baking")
SIZE = 8
USERS = 90
LENGTHS = (8, 18)


@dataclass(frozen=True)
class World:
    """Raw frames, as a user would bring them."""

    interactions: pl.DataFrame
    items: pl.DataFrame

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        self.interactions.write_parquet(folder / "interactions.parquet")
        self.items.write_parquet(folder / "items.parquet")
        return folder


def group_of(item_id: str) -> int:
    return int(item_id[1:]) // SIZE


def world(users: int = USERS, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        pair = rng.choice(len(GROUPS), 2, replace=False)
        start = rng.integers(0, SIZE, 2)
        for order in range(int(rng.integers(*LENGTHS))):
            side, turn = order % 2, order // 2
            item = pair[side] * SIZE + (start[side] + turn) % SIZE
            rows.append((f"u{user:03}", f"i{item:03}", order))
    items = [
        (f"i{group * SIZE + place:03}", f"{name} {chr(97 + place) * 3}", None, "ACME")
        for group, name in enumerate(GROUPS)
        for place in range(SIZE)
    ]
    return World(_interactions(rows), _items(items))


def wordy_world(users: int = 300, length: int = 5, each: int = 60, words: int = 20) -> World:
    """Users with one group each, too many items for co-occurrence to tell it, and titles with many words of their
    own: the fake LLM, which names the words that titles share, knows a user's group better than few titles tell it."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user:03}", f"i{user % len(GROUPS) * each + place:03}", order)
        for user in range(users)
        for order, place in enumerate(rng.choice(each, length, replace=False))
    ]
    letters = rng.integers(97, 123, (len(GROUPS) * each, words, 6))
    own = [" ".join("".join(map(chr, word)) for word in title) for title in letters]
    items = [(f"i{number:03}", f"{GROUPS[number // each]} {title}", None, None) for number, title in enumerate(own)]
    return World(_interactions(rows), _items(items))


def _interactions(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_id", "item_id", "order"], orient="row")


def _items(rows: list[tuple]) -> pl.DataFrame:
    names = ("item_id", "title", "categories", "brand")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def prepared(raw: World | None = None) -> Prepared:
    raw = raw or world()
    items = raw.items.select("item_id", "title", pl.col("title").alias("text_0")).with_row_index("row")
    return prepare([raw.interactions], items, text_columns=("title",))


def histories(raw: World | None = None) -> Histories:
    """The prepared world as arrays."""
    return prepared(raw).histories()


def leave_one_out(item_idx: np.ndarray, offsets: np.ndarray, num_items: int) -> Histories:
    """Histories of these events, split leave-one-out."""
    split = split_leave_one_out(item_idx, offsets)
    return Histories(item_idx, offsets, split.num_train, num_items, cases=split.cases)


FAKES = [
    "encoder.backend=fake",
    "llm.backend=fake",
    "cluster.count=15",
    "model.width=32",
    "model.max_length=16",
    "model.dropout=0.1",
    "train.batch_positions=256",
    "train.lr=3e-3",
    "train.epochs=4",
    "calibrate.sources=[]",
    "runtime.device=cpu",
    "runtime.threads=1",
    "runtime.reply_chunk_size=4",
]


INTERESTS = "heads.smoothing.interest=0.1"
"""A training that reads the interests."""


def recipe(folder: Path, *overrides: str) -> Recipe:
    """The world in `folder` as a user's own data, with the fake encoder and LLM, small and quick."""
    return load_recipe(str(folder), None, [*FAKES, *overrides])


def item_groups(items: pa.Table) -> np.ndarray:
    """Group of items 1..N by item_idx; entry 0 is padding."""
    return np.array([-1, *[group_of(item) for item in items[schema.ITEM_ID].to_pylist()]])
