"""Numbers that go on: the same events, split and cases by id, whatever the numbers are."""

import numpy as np
import polars as pl
import pytest

from eimf import schema
from eimf.config import SplitSettings
from eimf.data.prepare import Prepared, prepare
from eimf.data.renumber import Numbering


def events(rng: np.random.Generator, users: list[str], items: list[str]) -> pl.DataFrame:
    """A few events of each user at times of their own."""
    count = rng.integers(3, 8, len(users))
    user = np.repeat(users, count)
    return pl.DataFrame(
        {
            schema.USER_ID: user,
            schema.ITEM_ID: rng.choice(items, len(user)),
            schema.ORDER: np.arange(len(user)),
            schema.TIMESTAMP: rng.integers(0, 1000, len(user)).astype(float),
        }
    )


def by_id(ready: Prepared) -> tuple[dict, dict]:
    """The item ids, times and number of training events of each user with any; and the cases, by ids."""
    histories = ready.histories()
    user_ids = ready.users[schema.USER_ID].to_pylist()
    item_ids = np.array(["", *ready.items[schema.ITEM_ID].to_pylist()])
    content = {}
    for user, (begin, end) in enumerate(zip(histories.offsets[:-1], histories.offsets[1:], strict=True)):
        if end > begin:
            times = None if histories.timestamps is None else histories.timestamps[begin:end].tolist()
            items = item_ids[histories.item_idx[begin:end]].tolist()
            content[user_ids[user]] = items, times, int(histories.num_train[user])
    cases = {}
    for split, part in histories.cases.items():
        assert (np.diff(part.user_idx) >= 0).all()
        for case, user in enumerate(part.user_idx):
            relevant = item_ids[part.item_idx[part.offsets[case] : part.offsets[case + 1]]]
            cases[split, user_ids[user]] = int(part.history_end[case]), sorted(relevant.tolist())
    return content, cases


@pytest.mark.parametrize("protocol", ["leave-one-out", "temporal"])
@pytest.mark.parametrize("seed", range(4))
def test_everything_is_the_same_by_id(seed, protocol):
    rng = np.random.default_rng(seed)
    users, items = ([f"{kind}{number}" for number in range(count)] for kind, count in (("u", 40), ("i", 15)))
    old_users, old_items = list(rng.choice(users, 12, replace=False)), list(rng.choice(items, 9, replace=False))
    before = Numbering(pl.Series([*old_users, "gone"]), pl.Series([*old_items, "gone"]))
    frame, split = events(rng, users, items), SplitSettings(protocol=protocol)
    item_table = pl.DataFrame({schema.ITEM_ID: items, schema.TITLE: [f"title of {item}" for item in items]})
    item_table = item_table.with_columns(text_0=pl.col(schema.TITLE)).with_row_index("row")
    anew, continued = (
        prepare([frame], item_table, split=split, text_columns=("title",), before=numbering)
        for numbering in (None, before)
    )
    assert by_id(anew) == by_id(continued)
    numbered = continued.users[schema.USER_ID].to_pylist(), continued.items[schema.ITEM_ID].to_pylist()
    for old, now, every in zip((before.user_ids, before.item_ids), numbered, (users, items), strict=True):
        assert now[: len(old)] == old.to_list() and now[len(old) :] == sorted(set(now) - set(old))
        assert set(now) <= {*every, "gone"}
    titles = dict(
        zip(continued.items[schema.ITEM_ID].to_pylist(), continued.items[schema.TITLE].to_pylist(), strict=True)
    )
    assert titles.pop("gone") is None and all(title == f"title of {item}" for item, title in titles.items())
