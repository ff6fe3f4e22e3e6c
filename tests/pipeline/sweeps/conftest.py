import json
from pathlib import Path

import pytest

from eimf.errors import ArtifactError
from eimf.store.artifact import Store
from pipeline.stages.stage_one import run_esim
from pipeline.sweeps.plan import read_plan, trials_of
from tests import world as planted
from tests.pipeline.sweeps.plans import PLAN, RECIPE, world_recipe


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Path:
    folder = planted.world().write(tmp_path_factory.mktemp("sweep") / "world")
    (folder / "world.toml").write_text(RECIPE)
    path = folder / "plan.toml"
    path.write_text(PLAN.format(settings=json.dumps([*planted.FAKES, "train.epochs=1"])))
    return path


@pytest.fixture(scope="module")
def store(plan, tmp_path_factory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    with pytest.raises(ArtifactError):
        trials_of(read_plan(plan), plan.parent, store)  # nothing to train against yet
    run_esim(world_recipe(plan), store)
    return store
