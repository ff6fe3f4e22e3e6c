"""What a user would write in pandas instead of stage 1: read, clean, filter, number, order, split leave-one-out, write.

    python pandas_side.py CONFIG.json     prints its counts as JSON

CONFIG: interactions, items, target (a new folder), min_events, min_item_events.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

TRAIN, VALID, TEST = 0, 1, 2
EVENT_COLUMNS = ["user_id", "item_id", "timestamp"]
ITEM_COLUMNS = ["item_id", "title", "categories", "brand"]
MAX_CHARS = 300


def read(path: str, columns: list[str]) -> pd.DataFrame:
    if path.endswith(".csv"):
        return pd.read_csv(path, usecols=columns, engine="pyarrow")
    return pd.read_parquet(path, columns=columns)


def clean(events: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    events = events.dropna(subset=["user_id", "item_id"])
    events = events[events["item_id"].isin(items["item_id"])]
    return events.drop_duplicates(EVENT_COLUMNS)


def core(events: pd.DataFrame, min_events: int, min_item_events: int) -> pd.DataFrame:
    """Leave out users and items with too few events, in turn, until all have enough."""
    before = -1
    while len(events) != before:
        before = len(events)
        for column, least in (("user_id", min_events), ("item_id", min_item_events)):
            if least > 1:
                events = events[events.groupby(column)[column].transform("size") >= least]
    return events


def number_and_order(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.Index, pd.Index]:
    """user_idx from 0, item_idx from 1, by sorted id; a user's events by time, ties in the order of the file."""
    user_idx, user_ids = pd.factorize(events["user_id"], sort=True)
    item_idx, item_ids = pd.factorize(events["item_id"], sort=True)
    numbered = pd.DataFrame(
        {
            "user_idx": user_idx.astype("int32"),
            "item_idx": (item_idx + 1).astype("int32"),
            "timestamp": events["timestamp"].to_numpy(),
        }
    )
    return numbered.sort_values(["user_idx", "timestamp"], kind="stable"), user_ids, item_ids


def split(events: pd.DataFrame) -> pd.DataFrame:
    from_end = events.groupby("user_idx").cumcount(ascending=False).to_numpy()
    return events.assign(split=np.select([from_end == 0, from_end == 1], [TEST, VALID], TRAIN).astype("int8"))


def item_table(items: pd.DataFrame, item_ids: pd.Index) -> pd.DataFrame:
    used = items.set_index("item_id").loc[item_ids].reset_index()
    text = used["title"].fillna("")
    for column in ("categories", "brand"):
        text = text + (" | " + used[column]).fillna("")
    used["text"] = text.str.slice(0, MAX_CHARS)
    used.insert(0, "item_idx", np.arange(1, len(used) + 1, dtype="int32"))
    return used


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    target = Path(config["target"])
    target.mkdir()
    items = read(config["items"], ITEM_COLUMNS).dropna(subset="item_id").drop_duplicates("item_id")
    events = clean(read(config["interactions"], EVENT_COLUMNS), items)
    events = core(events, config["min_events"], config["min_item_events"])
    events, user_ids, item_ids = number_and_order(events)
    events = split(events)
    events.to_parquet(target / "events.parquet", index=False)
    users = pd.DataFrame({"user_idx": np.arange(len(user_ids), dtype="int32"), "user_id": user_ids})
    users.to_parquet(target / "users.parquet", index=False)
    item_table(items, item_ids).to_parquet(target / "items.parquet", index=False)
    print(json.dumps({"users": len(user_ids), "items": len(item_ids), "events": len(events)}))


if __name__ == "__main__":
    main()
