"""Hostile raw data: whatever is in the files and the recipe, stage one's first stage builds a sound dataset, or raises
one UserError and writes nothing."""

import json
import random
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from eimf import schema
from eimf.errors import UserError
from eimf.store.artifact import Artifact, Store
from pipeline.histories import read_dataset
from pipeline.recipe import Recipe, load_recipe
from pipeline.stages.dataset import dataset_stage
from pipeline.stages.stage import find_or_build
from tests.fuzz import _raw_files as files
from tests.fuzz._raw_files import Settings, Table
from tests.fuzz._raw_values import odd, title

PUBLISHED = (
    files.write_movielens,
    files.write_recbole,
    files.write_amazon_2018,
    files.write_steam,
    files.write_sasrec_text,
)


def run_one(rng: random.Random, folder: Path) -> str:
    """Import one case, written to `folder`: "ok", or the text of the UserError."""
    raw = folder / "raw"
    raw.mkdir()
    store = Store(folder / "store")
    try:
        settings = _write(rng, raw)
        if rng.random() < 0.2:
            files.damage(rng, raw)
        before = _content(raw)
        with redirect_stdout(StringIO()):
            try:
                recipe = _recipe(folder / "raw.toml", settings)
                dataset, _ = find_or_build(dataset_stage(recipe), store, {})
            except UserError as error:
                assert not list(store.root.rglob("*.parquet")), "something was written"
                return str(error)
            finally:
                assert _content(raw) == before, "a raw file was changed"
        check(dataset, recipe)
        return "ok"
    finally:
        shutil.rmtree(raw)
        shutil.rmtree(store.root, ignore_errors=True)


def check(dataset: Artifact, recipe: Recipe) -> None:
    """Assert what is true of every dataset."""
    histories = read_dataset(dataset)
    users, items, steps = (dataset.table(name).to_pydict() for name in ("users", "items", "cleaning"))
    used = len(histories.item_idx)
    for table, name in ((users, schema.USER_ID), (items, schema.ITEM_ID)):
        assert table[name] == sorted(set(table[name])) and None not in table[name], name
    assert set(histories.item_idx.tolist()) == set(items[schema.ITEM]) == set(range(1, histories.num_items + 1))
    assert users[schema.NUM_EVENTS] == np.diff(histories.offsets).tolist()
    _check_steps(steps, used, histories.num_users, histories.num_items)
    if recipe.cleaning.keep_removed:
        removed = [row for row in zip(steps[schema.REASON], steps[schema.NUM_REMOVED], strict=True) if row[0]]
        named = dataset.table("removed")[schema.REASON].to_pylist()
        left_out = {reason: count for reason, count in removed if reason != "item without a used event"}
        assert {reason: named.count(reason) for reason in named} == left_out
    assert min(users[schema.NUM_EVENTS]) >= recipe.cleaning.min_events
    assert np.bincount(histories.item_idx)[1:].min() >= recipe.cleaning.min_item_events
    for text in items[schema.TEXT]:
        assert text and len(text) <= recipe.text.max_chars and text == " ".join(text.split(" ")), text
    _check_split(histories)


def _check_steps(steps: dict[str, list[Any]], events: int, users: int, items: int) -> None:
    """No row is lost between those that were read, removed and used."""
    for file, used in (("interactions", events), ("items", items)):
        rows = [row for row, name in enumerate(steps[schema.FILE]) if name == file]
        if not rows and file == "items":  # there is no item table
            continue
        column = schema.EVENTS_LEFT if file == "interactions" else schema.ITEMS_LEFT
        left = [steps[column][row] for row in rows]
        assert left == (left[0] - np.cumsum([steps[schema.NUM_REMOVED][row] for row in rows])).tolist()
        assert left[-1] == used, (file, left, used)
    last = [row for row, name in enumerate(steps[schema.FILE]) if name == "interactions"][-1]
    assert (steps[schema.USERS_LEFT][last], steps[schema.ITEMS_LEFT][last]) == (users, items)


def _check_split(histories: Any) -> None:
    """Training, validation and test of a user have no event in common, and a case predicts what comes after its
    history."""
    begin = {}
    for split in (schema.VALID, schema.TEST):
        cases = histories.cases[split]
        assert len(cases) and len(set(cases.user_idx.tolist())) == len(cases)
        for case, user in enumerate(cases.user_idx.tolist()):
            relevant = cases.item_idx[cases.offsets[case] : cases.offsets[case + 1]].tolist()
            history_end = int(cases.history_end[case])
            events = histories.item_idx[histories.offsets[user] : histories.offsets[user + 1]].tolist()
            assert history_end >= max(histories.num_train[user], 1)
            assert relevant and len(set(relevant)) == len(relevant) and set(relevant) <= set(events[history_end:])
            begin.setdefault(user, []).append((history_end, split, relevant, events))
    for parts in begin.values():
        if len(parts) == 2:  # the validation ends where the test begins
            (valid, _, relevant, events), (test, *_) = parts
            assert valid < test and set(relevant) <= set(events[valid:test])


def _write(rng: random.Random, raw: Path) -> Settings:
    """Write the files of a case. Returns the settings of its recipe."""
    count = rng.choice((1, 12, 40, 80, 80))
    events, items = _events(rng, count), _items(rng)
    settings = {**_cleaning(rng), **_split(rng), **_text(rng), "dataset.name": "fuzz"}
    if rng.random() < 0.2:
        settings["dataset.path"] = "."
        rng.choice(PUBLISHED)(raw, events, items)
        return settings
    settings |= _columns(rng, settings)
    if rng.random() < 0.06:
        events = _sequences(rng, events, settings)
    files.write_table(rng, raw, "event", events, settings)
    if rng.random() < 0.9:
        files.write_table(rng, raw, "item", items, settings)
    return settings


def _events(rng: random.Random, count: int) -> Table:
    """Columns of events: mostly of few users and items, some of them odd."""
    orders = sorted(rng.randrange(1_700_000_000, 1_700_000_000 + 4 * count) for _ in range(count))
    rng.shuffle(orders)
    table: Table = {
        "user_id": [f"u{rng.randrange(1 + count // 7)}" for _ in range(count)],
        "item_id": [f"i{rng.randrange(6)}" for _ in range(count)],
        "order": orders,
        "rating": [rng.randrange(1, 6) for _ in range(count)],
        "kind": [rng.choice(("view", "buy", "buy")) for _ in range(count)],
        "part": [rng.choice(("train", "train", "valid", "test")) for _ in range(count)],
    }
    for name in rng.sample(list(table), rng.choice((0, 0, 0, 1, 1, 2))):
        table[name] = odd(rng, table[name])
    return table


def _items(rng: random.Random) -> Table:
    ids = [f"i{number}" for number in range(6)]
    table: Table = {
        "item_id": ids,
        "title": [title(rng) for _ in ids],
        "categories": [rng.choice((None, "Toys", "Games")) for _ in ids],
    }
    for name in rng.sample(list(table), rng.choice((0, 0, 0, 0, 1))):
        table[name] = odd(rng, table[name])
    return table


def _sequences(rng: random.Random, events: Table, settings: Settings) -> Table:
    """One user per row."""
    settings["dataset.table.sequence_separator"] = " "
    users = sorted(set(map(str, events["user_id"] if isinstance(events["user_id"], list) else ["u0", "u1", "u2"])))
    lists = [" ".join(f"i{rng.randrange(6)}" for _ in range(rng.randrange(8))) for _ in users]
    return {"user_id": users, "item_id": lists}


def _columns(rng: random.Random, others: Settings) -> Settings:
    """What the columns are; mostly those that `others` need."""
    settings: Settings = {"dataset.ties": rng.choice(("file", "shuffled"))}
    needs_time = others["split.protocol"] == "temporal" or any(name.endswith(("since", "until")) for name in others)
    if rng.random() < (0.95 if needs_time else 0.3):
        settings["dataset.columns.timestamp"] = rng.choice(("order",) * 9 + ("rating", "nothing"))
    if rng.random() < 0.1:
        settings["dataset.file_order"] = True
    if rng.random() < 0.1:
        settings["dataset.time_unit"] = rng.choice(("s", "ms", "us", "ns"))
    if rng.random() < 0.03:
        settings["dataset.table.date_format"] = rng.choice(("%Y", "%d/%m/%Y", "%Q", ""))
    needed = {
        "rating": ("rating", "cleaning.min_rating" in others),
        "event_type": ("kind", "cleaning.event_types" in others),
        "split": ("part", others["split.protocol"] == "given"),
    }
    for name, (column, is_needed) in needed.items():
        if rng.random() < (0.95 if is_needed else 0.2):
            settings[f"dataset.columns.{name}"] = column
    return settings


def _cleaning(rng: random.Random) -> Settings:
    pool: dict[str, tuple[Any, ...]] = {
        "event_types": (["buy"], ["buy", "view"], ["buy", "x"]),
        "min_rating": (2, 2.5, 9, -1),
        "since": (1_700_000_010, 1_700_000_020.5, "2023-11-14", "2023-11-14T22:13:40Z", "then"),
        "until": (1_700_000_100, "2024-01-01"),
        "items_since": (1_700_000_000, 1_700_000_001, 1_700_000_010),
        "duplicates": ("first", "last"),
        "max_events": (3, 4, 5),
        "long_histories": ("cut", "drop"),
        "min_events": (1, 2, 3, 4, 4),
        "min_item_events": (1, 2, 3, 5),
        "keep_removed": (True,),
    }
    chosen = [name for name in pool if rng.random() < 0.1]
    bad_rows = {"cleaning.bad_rows": rng.choice(("stop", "reject", "reject"))}
    return bad_rows | {f"cleaning.{name}": rng.choice(pool[name]) for name in chosen}


def _split(rng: random.Random) -> Settings:
    protocol = rng.choice(("leave-one-out",) * 3 + ("user-split", "temporal", "given"))
    pool: dict[str, tuple[Any, ...]] = {
        "seed": (1, 2),
        "shuffle": (False,),
        "valid_share": (0.1, 0.3, 0.49),
        "test_share": (0.1, 0.3, 0.49),
        "history_share": (0.01, 0.5, 0.99),
        "valid_from": (1_700_000_050, "2023-11-14T22:14:20Z"),
        "test_from": (1_700_000_100, "soon"),
        "cold_items": ("drop",),
        "max_cases": (1, 3),
    }
    chosen = [name for name in pool if rng.random() < 0.2]
    return {"split.protocol": protocol} | {f"split.{name}": rng.choice(pool[name]) for name in chosen}


def _text(rng: random.Random) -> Settings:
    templates = ("{title}", "{title} [in {categories}]", "{categories}", "[{title}]") * 3
    templates += ("{x}", "{title", "[{title}]]", "{{}}", " ")
    pool: dict[str, tuple[Any, ...]] = {
        "columns": (["title"], *[["title", "categories"]] * 8, ["title", "nothing"]),
        "template": templates,
        "fallback": ("none",),
        "max_chars": (1, 5),
        "clean_html": (False,),
    }
    chosen = [name for name in pool if rng.random() < 0.15]
    return {f"text.{name}": rng.choice(pool[name]) for name in chosen}


def _recipe(path: Path, settings: Settings) -> Recipe:
    """The recipe of a file with these settings; relative paths start in the folder `raw` beside it."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    path = path.parent / "raw" / path.name
    path.write_text("\n".join(lines))
    try:
        return load_recipe("", path, [])
    finally:
        path.unlink()


def _content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
