"""A generated log and its item table as files, and the recipe that reads them.

    python -m tests.bench.dataset_files 10 --folder data/10m [--format csv] [--bad-rows 0.001]     10 million events

Writes interactions, items, recipe.toml and world.json. The events come part by part, a row group each.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from tests.bench.dataset_world import PART, World, item_ids, uniform, user_ids

EVENTS = pa.schema(
    [("user_id", pa.string()), ("item_id", pa.string()), ("timestamp", pa.int64()), ("rating", pa.float32())]
)
ITEMS = pa.schema([(name, pa.string()) for name in ("item_id", "title", "categories", "brand")])
FAULTS = ("no user", "no item", "unknown item", "repeated")
WORLD = "world.json"
UNKNOWN_ITEM = "X00UNKNOWN"


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TOPICS = _words(
    """
    garden kitchen travel fishing cycling camping baby office beauty music chess sailing hiking winter bathroom
    car dog cat horse school piano guitar running swimming yoga tennis golf football knitting sewing painting
    baking coffee tea wine bread cheese space jazz history
    """
)
THINGS = _words(
    """
    lamp chair table bag brush knife bottle cup plate bowl jacket shoe glove hat shirt towel blanket pillow clock
    mirror basket box shelf rope tent stove pan kettle mat ball book poster puzzle cable charger speaker camera
    tripod soap candle
    """
)
QUALITIES = _words(
    """
    small large light heavy soft firm round square folding portable wireless steel wooden cotton leather glass
    ceramic bamboo red blue green black white silver golden classic modern vintage quiet bright warm cool dry
    waterproof washable magnetic striped plain premium compact
    """
)
SYLLABLES = _words("ba co du fe ga hi jo ka lu me ni po ra so ta vi wa xe yo zu")


def write_world(world: World, folder: Path, format: str = "parquet", bad_rows: float = 0) -> None:
    """interactions, items and recipe.toml in `folder`, which is made, and last world.json, which says what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"interactions.{format}", EVENTS, event_tables(world, bad_rows))
    _write(folder / f"items.{format}", ITEMS, item_tables(world))
    (folder / "recipe.toml").write_text(
        f"""[dataset]
name = "generated"
interactions = "interactions.{format}"
items = "items.{format}"

[dataset.columns]
order = "timestamp"
timestamp = "timestamp"
"""
    )
    (folder / WORLD).write_text(json.dumps(describe(world, format, bad_rows)) + "\n")


def describe(world: World, format: str, bad_rows: float) -> dict[str, object]:
    """All that the files depend on."""
    sizes = {"events": world.events, "users": world.users, "items": world.items, "seed": world.seed}
    return {**sizes, "format": format, "bad_rows": bad_rows}


def _write(path: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    if path.suffix == ".csv":
        quoting = pyarrow.csv.WriteOptions(quoting_style="needed" if schema is ITEMS else "none")  # commas in titles
        with pyarrow.csv.CSVWriter(path, schema, write_options=quoting) as file:
            for table in tables:
                file.write_table(table)
    else:
        with pq.ParquetWriter(path, schema, compression="zstd") as file:
            for table in tables:
                file.write_table(table, row_group_size=table.num_rows)


def event_tables(world: World, bad_rows: float = 0, part: int = PART) -> Iterator[pa.Table]:
    """The log, part by part, as EVENTS. `bad_rows` is the share of bad rows to the good ones: each comes after a good
    one, of which it is a copy with one of FAULTS."""
    for begin in range(0, world.events, part):
        user, item, timestamp = world.rows(begin, min(begin + part, world.events))
        rating = 1 + (np.sqrt(uniform(user * 2**20 + item, 20, world.seed)) * 5).astype(np.int64)
        columns = [user_ids(user), item_ids(item), pa.array(timestamp), pa.array(rating.astype(np.float32))]
        table = pa.table(columns, schema=EVENTS)
        yield _with_bad_rows(table, bad_rows, np.random.default_rng([world.seed, 4, begin])) if bad_rows else table


def _with_bad_rows(table: pa.Table, share: float, rng: np.random.Generator) -> pa.Table:
    count = round(share * table.num_rows)
    copied = np.sort(rng.choice(table.num_rows, count, replace=False))
    fault = np.full(table.num_rows + count, -1)
    fault[copied + 1 + np.arange(count)] = np.arange(count) % len(FAULTS)
    rows = table.take(pa.array(np.sort(np.concatenate([np.arange(table.num_rows), copied]))))
    user = pc.if_else(pa.array(fault == 0), None, rows["user_id"])
    item = pc.if_else(pa.array(fault == 1), None, rows["item_id"])
    item = pc.if_else(pa.array(fault == 2), UNKNOWN_ITEM, item)
    return pa.table([user, item, rows["timestamp"], rows["rating"]], schema=EVENTS)


def item_tables(world: World, part: int = 100_000) -> Iterator[pa.Table]:
    """The item table, part by part, as ITEMS: a title has two words of the group, which no other group has together,
    two qualities that are frequent in the group, and a number. One item of eight has no brand."""
    for begin in range(0, world.items, part):
        item = np.arange(begin, min(begin + part, world.items))
        group = item % world.groups
        brand = _brands(group, item, world.seed)
        topics, things = zip(*map(group_name, group.tolist()), strict=True)
        first, second = (_qualities(group, item, salt, world.seed) for salt in (30, 32))
        words = zip(brand, first, topics, things, second, item.tolist(), strict=True)
        titles = [
            f"{made} {one} {topic} {thing}, {other}, No. {number}".lstrip()
            for made, one, topic, thing, other, number in words
        ]
        categories = [f"{topic} > {thing}" for topic, thing in zip(topics, things, strict=True)]
        yield pa.table([item_ids(item), titles, categories, [name or None for name in brand]], schema=ITEMS)


def group_name(group: int) -> tuple[str, str]:
    """Two words for each group, such as garden and lamp; beyond 1,600 groups the second one has a number."""
    topic, thing, series = group % len(TOPICS), group // len(TOPICS) % len(THINGS), group // len(TOPICS) // len(THINGS)
    return TOPICS[topic], THINGS[thing] + (f" series {series + 1}" if series else "")


def _qualities(group: np.ndarray, item: np.ndarray, salt: int, seed: int) -> list[str]:
    """One of four qualities of the group for each item."""
    drawn = group * 4 + (uniform(item, salt, seed) * 4).astype(np.int64)
    return np.array(QUALITIES)[(uniform(drawn, salt + 1, seed) * len(QUALITIES)).astype(np.int64)].tolist()


def _brands(group: np.ndarray, item: np.ndarray, seed: int) -> list[str]:
    """One of seven brands of the group for each item, or none."""
    chosen = (uniform(item, 34, seed) * 8).astype(np.int64)
    syllables = [(uniform(group * 8 + chosen, salt, seed) * len(SYLLABLES)).astype(np.int64) for salt in (35, 36, 37)]
    names = zip(*(np.array(SYLLABLES)[drawn].tolist() for drawn in syllables), strict=True)
    return ["".join(parts).capitalize() if brand else "" for parts, brand in zip(names, chosen.tolist(), strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("millions", type=float, help="of events")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    parser.add_argument("--users", type=int, default=0)
    parser.add_argument("--items", type=int, default=0)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--bad-rows", type=float, default=0, help="share of bad rows to be added")
    options = parser.parse_args()
    world = World(round(options.millions * 1e6), options.seed, options.users, options.items)
    write_world(world, options.folder, options.format, options.bad_rows)
    print(json.dumps(describe(world, options.format, options.bad_rows)))


if __name__ == "__main__":
    main()
