"""`make demo` on the planted world: its table, its typical users, and where the time went."""

import re

import pytest

from eimf.config import CalibrateSettings
from eimf.serving import Recommender
from eimf.store.artifact import Store
from pipeline.commands.demo import run_demo
from tests import world as planted
from tests.command_lines import check


@pytest.mark.slow
def test_the_demo_shows_the_published_method_five_typical_users_and_the_time(world_folder, tmp_path, capsys):
    # A backbone that is quick to export.
    recipe = planted.recipe(world_folder, "train.epochs=1", "model.backbone=gru4rec")
    recipe = recipe.model_copy(update={"calibrate": CalibrateSettings()})
    store = Store(tmp_path / "store")
    run_demo(recipe, store, tmp_path / "bundle")
    first = capsys.readouterr().out
    for preset in ("plain", "text", "paper", "modern"):
        assert re.search(rf"^gru4rec {preset} .*0[.][0-9]{{4}} ", first, re.MULTILINE)
    users = re.findall("user u[0-9]+, typical of ([0-9]+) users; latest titles: (.+)\n((?:    .+\n)+)", first)
    members = [int(count) for count, _, _ in users]
    assert len(users) == 5 and members == sorted(members, reverse=True)
    for _, titles, said in users:
        # A title is a group's two words and one of its own; a user has two groups, and the fake names their words.
        groups = {word for title in titles.removeprefix("... ").split("; ") for word in title.split()[:2]}
        assert {line.split(":")[0].strip() for line in said.splitlines()} == groups
    assert "Where the time went, " in first and first.count("\ninterests ") == 1 and "of validation items" in first
    for command in re.findall(r"^  (make .*?)  ", first, re.MULTILINE):
        check(command)
    assert Recommender.load(tmp_path / "bundle").recommend_one([], 3).items
    run_demo(recipe, store, tmp_path / "bundle")
    second = capsys.readouterr().out
    assert "build   " not in second and "Where the time went" not in second and "typical of" in second
