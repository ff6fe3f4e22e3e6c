"""Whether items that a user has had may come back: one switch, from the command line to what is served."""

import json

import numpy as np
import pytest

from eimf import schema
from eimf.store.artifact import Store
from pipeline.cli import app
from pipeline.histories import read_dataset
from pipeline.serving import load_recommender
from pipeline.stages.stage_two import run_train
from tests import world as planted

PLAIN = ("heads.preset=plain",)
CURVE = ("loss", "valid_ndcg@10")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def curve(result) -> list[dict[str, float]]:
    return [json.loads(line) for line in result.checkpoint.file("epochs.jsonl").read_text().splitlines()]


def test_one_switch_keeps_seen_items_in_validation_test_and_serving(store, world_folder, capsys):
    left_out, kept = (
        run_train(planted.recipe(world_folder, *PLAIN, f"evaluate.keep_seen={value}"), store)
        for value in ("false", "true")
    )
    said = capsys.readouterr().out.splitlines()
    dataset = store.get("dataset", kept.checkpoint.manifest.parents["dataset"])
    histories = read_dataset(dataset)
    items = {user: each.tolist() for user, each in enumerate(np.split(histories.item_idx, histories.offsets[1:-1]))}
    repeats = {user for user, each in items.items() if each[-1] in each[:-1]}
    assert dataset.manifest.summary["repeated_targets"] == len(repeats)
    # Told once, of the training that leaves them out.
    line = f"{len(repeats) / len(items):.0%} of the test targets are items that the user had before"
    (told,) = (text for text in said if line in text)
    assert "evaluate.keep_seen=true (--keep-seen)" in told
    # The same training, another validation: it is as good at finding targets among all items as among fewer, but for
    # those that it could not be served.
    losses, values = ([[row[name] for row in curve(each)] for each in (left_out, kept)] for name in CURVE)
    assert losses[0] == losses[1] and values[0] != values[1]
    before, after = (each.metrics.table("ranks")["rank"].to_pylist() for each in (kept, left_out))
    for user, (all_items, fewer) in enumerate(zip(before, after, strict=True)):
        assert fewer == schema.NEVER if user in repeats else fewer <= all_items
    served = [load_recommender(store, each.checkpoint.key) for each in (left_out, kept)]
    assert [each.keep_seen for each in served] == [False, True]
    everything = [each.recommend([each.item_ids], 3) for each in served]
    assert [len(best[0].items) for best in everything] == [0, 3]


def test_where_few_items_come_back_no_line_says_so(tmp_path, capsys):
    raw = planted.world(users=20)
    once = raw.interactions.filter(raw.interactions["order"] < 2 * planted.SIZE)  # no cycle twice
    folder = planted.World(once, raw.items).write(tmp_path / "once")
    run_train(planted.recipe(folder, *PLAIN, "train.epochs=1"), Store(tmp_path / "store"))
    assert "targets are items" not in capsys.readouterr().out


def test_the_command_line_has_the_switch(store, world_folder, capsys):
    settings = [part for setting in (*planted.FAKES, *PLAIN) for part in ("--set", setting)]
    common = ["--dataset", str(world_folder), "--store", str(store.root), *settings]
    wanted = run_train(planted.recipe(world_folder, *PLAIN, "evaluate.keep_seen=true"), store)
    for verb in ("train", "evaluate"):
        capsys.readouterr()
        app([verb, *common, "--keep-seen"], standalone_mode=False)
        out = capsys.readouterr().out
        assert f"hit    12 metrics           {wanted.metrics.short}" in out and "targets are items" not in out
    model = load_recommender(store, wanted.checkpoint.key)
    shown = []
    for more in ([], ["--no-keep-seen"], ["--keep-seen"]):
        capsys.readouterr()
        arguments = ["recommend", wanted.checkpoint.key, "--store", str(store.root), "--count", "48", *more]
        app([*arguments, "--", *model.item_ids[:5]], standalone_mode=False)
        shown.append([line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]])
    assert shown[0] == shown[2] and set(shown[0]) == set(model.item_ids)
    assert set(shown[1]) == set(model.item_ids[5:])
    app([*arguments[:-1], "--no-keep-seen", "--", *model.item_ids], standalone_mode=False)
    assert "nothing is left to recommend" in capsys.readouterr().out
