from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline import api
from pipeline.api.sweeps import plan_of
from pipeline.console import quiet
from pipeline.sweeps.plan import prepare_plan, trials_of
from pipeline.sweeps.results import add_results
from pipeline.sweeps.run import result_of, train_trial
from pipeline.written_settings import parse_setting
from tests import world as planted

SETTINGS = dict(parse_setting(text, "tests") for text in [*planted.FAKES, "train.epochs=1", "model.backbone=gru4rec"])
"""With a backbone that is quick to export."""


@dataclass(frozen=True)
class Known:
    """What the examples of the interface are about."""

    folder: Path
    data: api.Dataset
    interests: api.Interests
    plain: api.Trained
    wide: api.Trained


@pytest.fixture(scope="package")
def known(tmp_path_factory) -> Known:
    folder, world = tmp_path_factory.mktemp("api"), planted.world()
    with quiet():
        data = api.load_dataset(
            world.interactions, world.items, store=folder / "store", settings=SETTINGS, name="hobbies"
        )
        interests = api.infer_interests(data)
        plain, wide = (api.fit(data, preset="plain", settings={"model.width": width}) for width in (32, 48))
    return Known(folder, data, interests, plain, wide)


def finish(
    data: api.Dataset, variants: Mapping[str, Any], seeds: list[int], baselines: list[str], folder: Path
) -> None:
    """The sweep of these trials in this process: no other has to load torch."""
    plan, recipes = plan_of([data], variants, None, seeds, baselines), {data.name: data.draft}
    with quiet():
        prepare_plan(plan, recipes, data.store)
        for trial in trials_of(plan, recipes, data.store):
            add_results(folder, [result_of(trial, train_trial(trial, data.store.address))])
