"""The generated logs of `make bench-data`: the same bytes again, what is planted in them, and stage 1 on them."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from eimf.store.artifact import Store
from pipeline.recipe import load_recipe
from pipeline.stages.dataset import dataset_stage
from pipeline.stages.stage import find_or_build
from tests.bench.dataset_files import FAULTS, group_name, item_tables, write_world
from tests.bench.dataset_process import run
from tests.bench.dataset_same import differences
from tests.bench.dataset_world import FOLLOWS, TIED, World, item_ids, user_ids

EVENTS = 20_000
BAD_ROWS = 0.01


@pytest.fixture(scope="module")
def world() -> World:
    return World(EVENTS)


def test_the_same_bytes_again(tmp_path):
    for folder in ("first", "second"):
        write_world(World(2000), tmp_path / folder, bad_rows=BAD_ROWS)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()
    assert not np.array_equal(World(2000).log, World(2000, seed=1).log)


def test_draws_do_not_depend_on_the_parts(world):
    whole = world.rows(0, EVENTS)
    parts = zip(*(world.rows(begin, min(begin + 777, EVENTS)) for begin in range(0, EVENTS, 777)), strict=True)
    assert all(np.array_equal(one, np.concatenate(many)) for one, many in zip(whole, parts, strict=True))


def test_what_is_planted(world):
    user, item, timestamp = world.rows(0, EVENTS)
    assert np.bincount(user, minlength=world.users).min() == 3 and len(user) == EVENTS
    assert (np.diff(timestamp) >= 0).all()
    assert len(np.unique(np.stack([user, item, timestamp]), axis=1).T) == EVENTS  # no row is repeated
    order = np.lexsort((timestamp, user))
    neighbors = np.diff(user[order]) == 0
    assert _about((np.diff(timestamp[order])[neighbors] == 0).mean(), TIED, neighbors.sum())
    groups, count = world.interests(user)
    group = item % world.groups
    within = ((groups == group[:, None]) & (np.arange(groups.shape[1]) < count[:, None])).any(1)
    assert within.mean() > FOLLOWS  # and by chance some of the others
    # An item's rank r, from 1, has a density of r ** -.8: half of its integral is below ((1 + (S + 1) ** .2) / 2) ** 5.
    size = (world.items - group - 1) // world.groups + 1
    tied = np.concatenate([[False], (np.diff(timestamp) == 0) & (np.diff(user) == 0)])
    below = item // world.groups + 2 <= ((1 + (size + 1) ** 0.2) / 2) ** 5
    assert abs(below[~tied].mean() - 0.5) < 0.1


def _about(share: float, expected: float, count: int) -> bool:
    """Within four standard deviations of the share of `count` draws."""
    return abs(share - expected) < 4 * (expected * (1 - expected) / count) ** 0.5


def test_ids_are_unique_and_titles_name_the_group(world):
    items = next(item_tables(world))
    for ids, count in ((items["item_id"], world.items), (item_ids(np.arange(10**6 - EVENTS, 10**6)), EVENTS)):
        assert pc.count_distinct(ids).as_py() == count
    assert pc.count_distinct(user_ids(np.arange(10**7 - EVENTS, 10**7))).as_py() == EVENTS
    names = [group_name(group) for group in range(4000)]
    assert len(set(names)) == len(names)
    for row, (title, categories) in enumerate(
        zip(*(items[name].to_pylist() for name in ("title", "categories")), strict=True)
    ):
        topic, thing = group_name(row % world.groups)
        assert f"{topic} {thing}" in title and categories == f"{topic} > {thing}"


def test_stage_1_prepares_what_was_generated(world, tmp_path):
    """And removes every bad row. The log itself is the oracle: it knows every user's events in order."""
    write_world(world, tmp_path, bad_rows=BAD_ROWS)
    raw = pq.read_table(tmp_path / "interactions.parquet")
    num_bad = round(BAD_ROWS * EVENTS)
    assert raw.num_rows == EVENTS + num_bad
    assert raw["user_id"].null_count == raw["item_id"].null_count == num_bad // len(FAULTS)
    recipe = load_recipe("", tmp_path / "recipe.toml", ["cleaning.bad_rows=reject"])
    artifact, _ = find_or_build(dataset_stage(recipe), Store(tmp_path / "store"), {})
    write_expected(world, tmp_path / "expected")
    assert differences(artifact.folder, tmp_path / "expected") == []
    events = pq.read_table(tmp_path / "expected" / "events.parquet")
    swapped = np.concatenate([[1, 0], np.arange(2, EVENTS)])  # the two differ by the fixed seed
    pq.write_table(
        events.set_column(1, "item_idx", events["item_idx"].take(swapped)), tmp_path / "expected" / "events.parquet"
    )
    assert differences(artifact.folder, tmp_path / "expected") == ["item_idx"]


def write_expected(world: World, folder: Path) -> None:
    """What pandas writes: users from 0 and items from 1 by sorted id, each user's events in the order of the log, the
    last one for the test and the one before it for validation."""
    user, item, _ = world.rows(0, EVENTS)
    user_id, user_idx = np.unique(user_ids(user).to_numpy(zero_copy_only=False), return_inverse=True)
    item_id, item_idx = np.unique(item_ids(item).to_numpy(zero_copy_only=False), return_inverse=True)
    order = np.argsort(user_idx, kind="stable")
    user_idx, item_idx = user_idx[order], item_idx[order] + 1
    from_end = np.cumsum(np.bincount(user_idx))[user_idx] - 1 - np.arange(EVENTS)
    split = np.where(from_end == 0, 2, np.where(from_end == 1, 1, 0))
    folder.mkdir()
    events = {"user_idx": user_idx, "item_idx": item_idx, "split": split}
    for name, columns in (("events", events), ("users", {"user_id": user_id}), ("items", {"item_id": item_id})):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def test_a_process_that_holds_too_much_memory_is_ended(tmp_path):
    program = "import json, time; held = b'x' * ({size} << 20); print(json.dumps(len(held))); time.sleep({seconds})"
    arguments = {"limit_mb": 100, "environment": {}}
    small = run([sys.executable, "-Sc", program.format(size=40, seconds=0.1)], tmp_path, **arguments)
    assert small.said == 40 << 20 and 40 < small.peak_mb < 100
    large = run([sys.executable, "-Sc", program.format(size=150, seconds=60)], tmp_path, **arguments)
    assert large.said is None and large.peak_mb > 100 and large.seconds < 60
    with pytest.raises(RuntimeError, match="no such thing"):
        run([sys.executable, "-Sc", "raise SystemExit('no such thing')"], tmp_path, **arguments)
