"""A store with stage one of a planted world that has hostile titles, and a model with four interests, measured."""

from dataclasses import replace

import polars as pl
import pytest

from eimf.store.artifact import Store
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted
from tests.pipeline.report.html.studies import AS_WRITTEN

HOSTILE = "jazz trumpet <script>window.ran = 1</script><img src=x onerror='window.ran=1'>"
TRAINED = (AS_WRITTEN, planted.INTERESTS, "train.epochs=1", "model.backbone=comirec-sa", "model.width=8")


@pytest.fixture(scope="package")
def hostile_folder(tmp_path_factory):
    world = planted.world()
    title = pl.when(pl.col("item_id").str.ends_with("3")).then(pl.lit(HOSTILE)).otherwise(pl.col("title"))
    items = world.items.with_columns(title.alias("title"))
    return replace(world, items=items).write(tmp_path_factory.mktemp("data") / "hostile")


@pytest.fixture(scope="package")
def store(tmp_path_factory, hostile_folder) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run_esim(planted.recipe(hostile_folder, AS_WRITTEN), store)
    run_train(planted.recipe(hostile_folder, *TRAINED), store)
    return store
