"""Stages 6, 7 and 9 with a closed vocabulary, and that a free one is as it was before there was a choice."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from eimf import schema
from eimf.esim.fake import FakeGenerator, FakeRenderer
from eimf.store import keys
from eimf.store.artifact import Store
from eimf.store.replies import ReplyStore
from pipeline.backends.engines import Engines
from pipeline.stages.lockfile import settings_behind
from pipeline.stages.stage_one import engines_of, run_esim, stage_one
from tests import world as planted

GENRES = ("Music > Jazz", "Home > Garden", "Science > Space", "Sports > Fishing", "Games > Chess", "Home > Bread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The planted world, in which every group has a category."""
    raw = planted.world()
    group = pl.col("item_id").str.slice(1).cast(pl.Int64) // planted.SIZE
    category = group.replace_strict(dict(enumerate(GENRES)), return_dtype=pl.String)
    items = raw.items.with_columns(category.alias("categories"))
    return planted.World(raw.interactions, items).write(tmp_path_factory.mktemp("categories"))


def esim(folder: Path, store: Store, *overrides: str, kind: type[Engines] = Engines):
    recipe = planted.recipe(folder, *overrides)
    return run_esim(recipe, store, engines_of(recipe, store, kind))


def offers_of(artifacts) -> dict[int, dict[str, list[int]]]:
    """By user, the phrases offered with the item_idx of the titles that carry them."""
    rows = artifacts["requests"].table("requests").to_pylist()
    return {
        row["user_idx"]: {o["interest"]: [row["history"][number - 1] for number in o["items"]] for o in row["offers"]}
        for row in rows
    }


def test_interests_come_from_the_phrases_offered_and_their_evidence_is_what_carries_them(folder, tmp_path):
    artifacts = esim(folder, Store(tmp_path))
    offers, items = offers_of(artifacts), artifacts["dataset"].table("items").to_pylist()
    interests = artifacts["interests"].table("interests").to_pylist()
    assert {"jazz", "garden"} <= {row["interest"] for row in interests}
    for row in interests:
        assert row["evidence"] == offers[row["user_idx"]][row["interest"]][-8:]  # the most recent
        for item in row["evidence"]:
            assert row["interest"] in items[item - 1]["text"].casefold()
    prompts = artifacts["requests"].table("requests")[schema.PROMPT].to_pylist()
    assert all("\n\nChoose from: " in prompt for prompt in prompts)
    grounding = artifacts["esim"].table("interests")[schema.GROUNDING].to_numpy()
    summary = artifacts["esim"].manifest.summary
    assert summary["grounding"] == pytest.approx(np.nanmean(grounding), abs=1e-4)
    assert summary["grounding"] > summary["shuffled"] + 0.3


class Recorded(Engines):
    """Replies of our own, with the fake's chat template."""

    replies: dict[int, object]

    def renderer(self):
        return FakeRenderer()


def test_replayed_replies_keep_offered_phrases_and_the_titles_that_carry_them(folder, tmp_path):
    store = Store(tmp_path)
    fake = esim(folder, store, "llm.backend=fake")
    recipe = planted.recipe(folder, "llm.backend=replay")
    identity = engines_of(recipe, store, Recorded).generator_identity
    requests = fake["requests"].table("requests").to_pylist()
    rows = []
    for row in requests:
        phrase = row["offers"][0]["interest"]
        reply = [{"interest": "film noir", "items": [1]}, {"interest": phrase, "items": list(range(1, 16))}]
        rows.append(reply)
    with pytest.raises(Exception, match="replay"):  # builds the requests of the replayed model
        run_esim(recipe, store, engines_of(recipe, store, Recorded))
    keyed = {
        row["user_idx"]: row[schema.REQUEST_KEY]
        for kind, key in store.listing()
        if kind == "requests" and key != fake["requests"].key
        for row in store.get(kind, key).table("requests").to_pylist()
    }
    stored = [
        dict(zip(schema.REPLIES.names, (keyed[row["user_idx"]], 0, json.dumps(reply), 1, 1, "stop"), strict=True))
        for row, reply in zip(requests, rows, strict=True)
    ]
    ReplyStore(store.root, keys.digest(identity)).append(stored)
    replayed = run_esim(recipe, store, engines_of(recipe, store, Recorded))
    offers = offers_of(replayed)
    for row in replayed["interests"].table("interests").to_pylist():
        assert row["evidence"] == offers[row["user_idx"]][row["interest"]]  # no film noir, no other title
    assert replayed["interests"].table("interests").num_rows == len(requests)


def test_an_interrupted_run_resumes_without_asking_twice(folder, tmp_path):
    class Killed(Engines):
        def generator(self):
            class Stopping(FakeGenerator):
                def generate(self, requests):
                    for number, reply in enumerate(super().generate(requests)):
                        if number == 9:
                            raise KeyboardInterrupt
                        yield reply

            return Stopping(4)

    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        esim(folder, store, kind=Killed)
    resumed = esim(folder, store)
    assert resumed["interests"].manifest.summary["llm_requests"] == 15 - 9  # two chunks of four, and what had finished
    whole = esim(folder, Store(tmp_path / "whole"))
    assert resumed["interests"].table("interests").equals(whole["interests"].table("interests"))


def test_auto_is_closed_for_the_built_in_llm_and_free_for_another(folder):
    def closed(*overrides: str) -> bool:
        recipe = planted.recipe(folder, *overrides)
        return recipe.prompt.is_closed(recipe.llm)

    assert closed() and not closed("llm.model=owner/large")
    assert closed("llm.model=owner/large", "prompt.vocabulary=closed") and not closed("prompt.vocabulary=free")


@pytest.mark.parametrize(
    ("settings", "requests", "prompt"),
    [
        ([], "be16fcec489cbe97", "64cbd3a70de392ef"),
        (["prompt.template=movies"], "3681713be9dc1a65", "64cbd3a70de392ef"),
        (["llm.backend=vllm", "llm.dtype=float32"], "3c4a08f7e03b6203", "6460f86c281a539d"),
    ],
)
def test_a_free_vocabulary_has_the_keys_it_had_before_there_was_a_choice(folder, tmp_path, settings, requests, prompt):
    recipe = planted.recipe(folder, "prompt.vocabulary=free", *settings)
    engines = engines_of(recipe, Store(tmp_path))
    stages = {stage.kind: stage for stage in stage_one(recipe, engines, Store(tmp_path))}
    assert stages["requests"].key({"dataset": "a", "typical_users": "b"})[:16] == requests
    assert stages["interests"].key({"requests": "c"})[:16] == "c764a21bef4a3c86"
    assert keys.request_key(engines.generator_identity, "hello")[:16] == prompt


def test_a_lock_of_a_free_vocabulary_is_that_of_before(world_folder):
    auto = settings_behind(planted.recipe(world_folder), "esim").settings["prompt"]
    free = settings_behind(planted.recipe(world_folder, "prompt.vocabulary=free"), "esim").settings["prompt"]
    closed = settings_behind(planted.recipe(world_folder, "prompt.vocabulary=closed"), "esim").settings["prompt"]
    assert set(free) == {"template", "max_titles", "title_chars"}
    assert auto == closed == {**free, "vocabulary": "closed"}


def test_users_without_anything_in_common_are_asked_freely(world_folder, tmp_path):
    """All items of the planted world are of one brand, and no title ends like another."""
    store = Store(tmp_path)
    artifacts = esim(world_folder, store)
    assert artifacts["requests"].manifest.summary["without_phrases"] == 15
    free = esim(world_folder, Store(tmp_path / "free"), "prompt.vocabulary=free")
    assert artifacts["interests"].table("interests").equals(free["interests"].table("interests"))


def test_a_phrase_with_a_marker_of_the_chat_is_not_offered(folder, tmp_path):
    items = pl.read_parquet(folder / "items.parquet").with_columns(pl.col("categories") + " <user>")
    hostile = shutil.copytree(folder, tmp_path / "hostile")
    items.write_parquet(hostile / "items.parquet")
    artifacts = esim(hostile, Store(tmp_path / "store"))
    assert not any("user" in phrase for offers in offers_of(artifacts).values() for phrase in offers)
