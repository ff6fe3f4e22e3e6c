"""Items without texts: what needs none works to the end, what reads some is refused before anything starts."""

import polars as pl
import pytest

from eimf import schema
from eimf.errors import DataError
from eimf.store.artifact import Store
from pipeline.recipe import Recipe, load_recipe
from pipeline.serving import load_recommender
from pipeline.stages.dataset import dataset_stage
from pipeline.stages.stage import find_or_build
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted


@pytest.fixture
def folder(tmp_path):
    planted.world(users=20).interactions.write_parquet(tmp_path / "e.parquet")
    return tmp_path


def recipe(folder, *overrides: str, items: pl.DataFrame | None = None) -> Recipe:
    lines = ["[dataset]", 'name = "t"', 'interactions = "e.parquet"']
    if items is not None:
        items.write_parquet(folder / "i.parquet")
        lines.append('items = "i.parquet"')
    (folder / "r.toml").write_text("\n".join(lines))
    return load_recipe("", folder / "r.toml", [*planted.FAKES, *overrides])


def test_a_plain_preset_trains_and_recommends_without_an_item_table(folder):
    store = Store(folder / "store")
    result = run_train(recipe(folder, 'heads.preset="plain"', "train.epochs=1"), store)
    dataset = store.parent(result.checkpoint, "dataset")
    items = dataset.table("items")
    assert items[schema.TEXT].to_pylist() == items[schema.ITEM_ID].to_pylist()
    assert dataset.summary_number("untitled") == items.num_rows
    known, model = items[schema.ITEM_ID].to_pylist(), load_recommender(store, result.checkpoint.key)
    assert model.catalogue.titles == [None] * len(known)
    answer = model.recommend_one(known[:2], count=3).items
    assert len(answer) == 3 and {item.item_id for item in answer} <= set(known[2:])


@pytest.mark.parametrize("preset", ["init", "text", "paper", "modern"])
def test_presets_that_read_texts_are_refused_without_an_item_table(folder, preset):
    store = Store(folder / "store")
    with pytest.raises(
        DataError, match=rf"dataset\.items: there is no item table, and the preset {preset} reads texts;"
    ):
        run_train(recipe(folder, f'heads.preset="{preset}"'), store)
    assert not list(store.root.glob("*/*/manifest.json"))


def test_stage_one_is_refused_before_a_model_is_looked_for(folder):
    store, missing = Store(folder / "store"), f'llm.model="{folder}/nothing"'
    with pytest.raises(DataError, match=r"dataset\.items: there is no item table, and stage one reads texts; name"):
        run_esim(recipe(folder, "llm.backend=vllm", missing), store)
    nameless = planted.world(users=20).items.select("item_id")
    with pytest.raises(DataError, match=r"dataset\.items: no item has a title or another text, and stage one"):
        run_esim(recipe(folder, items=nameless), store)
    with pytest.raises(DataError, match="no item has a title or another text, and the preset text reads texts"):
        run_train(recipe(folder, 'heads.preset="text"', items=nameless), store)
    assert {path.parts[-3] for path in store.root.glob("*/*/manifest.json")} == {"dataset"}


def test_without_a_column_of_titles_people_and_the_llm_see_the_other_texts(folder):
    items = planted.world(users=20).items.with_columns(categories=pl.lit("Toys"), brand=pl.lit("Acme")).drop("title")
    dataset, _ = find_or_build(dataset_stage(recipe(folder, items=items)), Store(folder / "store"), {})
    table = dataset.table("items")
    assert set(table[schema.TITLE].to_pylist()) == {None}
    assert set(schema.display_names(table)) == {"Toys | Acme"}
    assert dataset.manifest.summary["notices"] == [
        "no item has a title: people and an LLM see the other texts; dataset.columns.title names the titles"
    ]
