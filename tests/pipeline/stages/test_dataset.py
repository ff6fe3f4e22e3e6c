"""Stage 1 by recipe: its lines and counts, data without titles, and a folder in the place of a file."""

import polars as pl
import pytest

from eimf import schema
from eimf.errors import DataError
from eimf.store.artifact import Store
from pipeline.stages.dataset import dataset_stage
from pipeline.stages.stage import find_or_build
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def test_the_dataset_stage_says_what_it_left_out_and_what_is_odd(store, tmp_path, capsys):
    raw = planted.world()
    rows = [
        ("short", "i000", 0),
        ("short", "i001", 1),
        ("u000", "gone", 9),
        *(("nan", "i002", order) for order in range(4)),
    ]
    events = pl.concat([raw.interactions, pl.DataFrame(rows, schema=raw.interactions.schema, orient="row")])
    titles = pl.when(pl.col("item_id") == "i003").then(pl.lit("Jazz &amp; <b>more</b>")).otherwise("title")
    folder = planted.World(events, raw.items.with_columns(titles.alias("title"))).write(tmp_path / "odd")
    dataset = run_esim(planted.recipe(folder, "cleaning.bad_rows=reject"), store)["dataset"]
    summary = dataset.manifest.summary
    assert [summary[name] for name in ("users", "removed", "cleaned")] == [91, 3, 1]
    assert dataset.table("items")[schema.TITLE].to_pylist()[3] == "Jazz & more"
    notice = "4 events have the user id 'nan': leave them out if it stands for a missing id"
    assert summary["notices"] == [notice]
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == f"       note: {notice}"
    assert "removed=3 tied=0.0 cleaned=1 train_events=" in printed[2]  # no zeros, no users of training: they are all
    ending = f"valid_cases=91 test_cases=91 repeated_targets={summary['repeated_targets']} protocol=leave-one-out"
    assert printed[2].endswith(f"{ending} format=table") and summary["test_targets"] == summary["test_cases"]


def test_without_titles_the_plain_backbone_is_trained_and_the_llm_is_what_misses_them(store, tmp_path):
    raw = planted.world(users=20)
    nameless = raw.items.with_columns(pl.lit(None, pl.String).alias(name) for name in ("title", "categories", "brand"))
    folder = planted.World(raw.interactions, nameless).write(tmp_path / "nameless")
    result = run_train(planted.recipe(folder, "heads.preset=plain", "train.epochs=1"), store)
    assert result.metrics.table("ranks").num_rows == 20
    with pytest.raises(DataError, match=r"dataset\.items: no item has a title or another text, and stage one reads"):
        run_esim(planted.recipe(folder), store)


def test_a_folder_of_parts_is_read_as_one_table(store, tmp_path):
    raw = planted.world(users=20)
    folder = raw.write(tmp_path / "parts")
    whole = run_esim(planted.recipe(folder), store)["dataset"]
    (folder / "interactions.parquet").unlink()
    (folder / "interactions.parquet").mkdir()
    with pytest.raises(DataError, match=r"dataset\.interactions: .*interactions\.parquet holds no visible file"):
        run_esim(planted.recipe(folder), store)
    for part, rows in enumerate((raw.interactions[:99], raw.interactions[99:])):
        rows.write_parquet(folder / "interactions.parquet" / f"part-{part}.parquet")
    (folder / "interactions.parquet" / "_SUCCESS").touch()
    parts = run_esim(planted.recipe(folder), store)["dataset"]
    assert parts.key != whole.key
    for table in ("users", "items", "eval_cases"):
        assert parts.table(table).equals(whole.table(table))


def test_raw_files_that_change_after_their_key_was_computed_are_not_stored_under_it(store, tmp_path):
    raw = planted.world(users=20)
    folder = raw.write(tmp_path / "changing")
    stage = dataset_stage(planted.recipe(folder))
    for setting, path in (("interactions", folder / "interactions.parquet"), ("items", folder / "items.parquet")):
        content = path.read_bytes()
        pl.read_parquet(path).reverse().write_parquet(path)
        with pytest.raises(DataError, match=rf"dataset\.{setting}: files .* changed while they were read; .* again"):
            find_or_build(stage, store, {})
        path.write_bytes(content)
    assert not list(store.root.glob("dataset/*")) and not list(store.root.glob("tmp/*"))
    assert find_or_build(stage, store, {})[1]
