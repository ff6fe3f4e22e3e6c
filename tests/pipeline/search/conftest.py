from pathlib import Path

import pytest

from tests import world as planted
from tests.pipeline.search.plans import PLAN
from tests.pipeline.sweeps.plans import RECIPE


@pytest.fixture(scope="session")
def search_plan(tmp_path_factory) -> Path:
    """A plan beside its world."""
    folder = planted.world().write(tmp_path_factory.mktemp("search") / "world")
    (folder / "world.toml").write_text(RECIPE)
    path = folder / "search.toml"
    path.write_text(PLAN)
    return path
