"""A card to show, of a planted dataset with times, hostile titles and rows that were removed."""

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.data.card.sheet import make_card
from eimf.data.histories import Histories
from pipeline.report.card.described import DescribedDataset
from tests.world import leave_one_out

HOSTILE = ["<script>window.ran = 1</script>", "</title></svg><img src=x onerror='window.ran=1'>", "\u202eevil\x1b[2J"]
USERS, ITEMS, DAY = 60, 40, 86_400


def histories(with_times: bool) -> Histories:
    """The same every time: items by a falling popularity, some twice in a history."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(3, 40, USERS)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    item_idx = (rng.random(offsets[-1]) ** 3 * ITEMS).astype(np.int32) + 1
    split = leave_one_out(item_idx, offsets, ITEMS)
    times = np.sort(rng.integers(0, 900, offsets[-1])) * float(DAY) if with_times else None
    return Histories(item_idx, offsets, split.num_train, ITEMS, times, split.cases)


def described(*, with_times: bool = True, titles: list[str] = HOSTILE) -> DescribedDataset:
    names = [*titles, *(f"The item {number}" for number in range(ITEMS - len(titles)))]
    idx = range(1, ITEMS + 1)
    metadata = [f"{titles[0]} | red" if number % 2 else None for number in idx]
    items = pa.table([idx, map(str, idx), names, metadata, names], schema=schema.ITEMS)
    rows = [
        ("read", "", "interactions", 0, 2000, 70, 45),
        ("rows", "repeated <b>event</b>", "items", 7, None, None, 40),
    ]
    cleaning = pa.table(list(zip(*rows, strict=True)), schema=schema.CLEANING)
    card = make_card(histories(with_times), items, tied_share=0.2, cleaning=cleaning)
    notices = ("2 user ids look like rounded numbers, such as '1e+20'",)
    return DescribedDataset(
        "planted", "ab" * 32, "2026-11-27T00:00:00", "leave-one-out", notices, "eimf data card", card
    )
