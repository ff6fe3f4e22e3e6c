"""Stage 1b, with the fakes: who is asked about what, what a file brings, and what stage 2 makes of it."""

import json
import shutil

import numpy as np
import pytest

from eimf import schema
from eimf.errors import ArtifactError, DataError, SettingError
from eimf.esim.encode import encode_texts
from eimf.esim.fake import FakeEncoder, FakeGenerator
from eimf.esim.generate import Reply
from eimf.store.artifact import Store
from eimf.store.replies import ReplyStore
from pipeline.backends.engines import Engines
from pipeline.stages.load import histories_of
from pipeline.stages.lockfile import read_lock, save_lock, settings_behind
from pipeline.stages.stage import find_or_build
from pipeline.stages.stage_one import engines_of, stage_one
from tests import world as planted

ON = "item_knowledge.enabled=true"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def upto_vectors(folder, store: Store, *overrides: str, engines: type[Engines] = Engines):
    """Stages 1 to 2."""
    recipe = planted.recipe(folder, *overrides)
    artifacts = {}
    for stage in stage_one(recipe, engines_of(recipe, store, engines), store):
        artifacts[stage.kind], _ = find_or_build(stage, store, artifacts)
        if stage.kind == "item_vectors":
            return artifacts
    raise AssertionError("there is no stage 2")


def texts(artifacts) -> list[str | None]:
    return artifacts["item_knowledge"].table("knowledge")[schema.KNOWLEDGE].to_pylist()


def summary(artifacts) -> dict:
    return artifacts["item_knowledge"].manifest.summary


def file_of(path, known: dict[str, str]) -> list[str]:
    """Settings that read a new file with this knowledge by item id."""
    path.write_text("".join(json.dumps({"item_id": item, "knowledge": text}) + "\n" for item, text in known.items()))
    return [ON, f"item_knowledge.source={path}", 'item_knowledge.author="somebody"']


def test_the_llm_is_asked_about_every_item_and_stage_2_gets_a_column(world_folder, store):
    off, on = upto_vectors(world_folder, store), upto_vectors(world_folder, store, ON)
    before, after = off["item_vectors"].table("vectors"), on["item_vectors"].table("vectors")
    assert before.column_names == [schema.ITEM, schema.VECTOR]
    assert after.drop_columns([schema.KNOWLEDGE]).equals(before)
    known = texts(on)
    assert [text.startswith("for people who like") for text in known] == [True] * 48
    assert summary(on)["asked"] == summary(on)["llm_requests"] == 48 and on["item_knowledge"].table("replies").num_rows
    expected = encode_texts(FakeEncoder(), known, 8, lambda _: None)
    np.testing.assert_allclose(schema.vectors_of(after, schema.KNOWLEDGE), expected, rtol=1e-6)


def test_with_the_stage_off_nothing_of_it_is_in_a_key(world_folder, store):
    recipe = planted.recipe(world_folder, "item_knowledge.max_words=9", "item_knowledge.control=shuffled")
    stages = stage_one(recipe, engines_of(recipe, store), store)
    assert [stage.kind for stage in stages[:2]] == ["dataset", "item_vectors"] and len(stages) == 9
    assert stages[1].parents == ("dataset",) and stages[1].configuration == {"encoder": {"backend": "fake"}}
    plain = planted.recipe(world_folder)
    for kind in ("dataset", "item_vectors", "esim"):
        assert settings_behind(recipe, kind) == settings_behind(plain, kind)
        assert "item_knowledge" not in settings_behind(recipe, kind).settings


@pytest.mark.parametrize(
    ("setting", "asked"),
    [
        ("item_knowledge.max_words=9", 48),
        ("item_knowledge.max_tokens=50", 48),
        ("item_knowledge.template=movies", 48),
        ("item_knowledge.control=shuffled", 0),
        ("item_knowledge.max_events=20", 0),
        ("llm.max_interests=3", None),
        ("llm.max_tokens=99", None),
        ("runtime.reply_chunk_size=1", None),
    ],
)
def test_what_changes_the_result_is_in_the_key_and_asks_only_for_what_is_new(world_folder, store, setting, asked):
    before, after = upto_vectors(world_folder, store, ON), upto_vectors(world_folder, store, ON, setting)
    changed = before["item_knowledge"].key != after["item_knowledge"].key
    assert changed == (asked is not None) == (before["item_vectors"].key != after["item_vectors"].key)
    assert not changed or summary(after)["llm_requests"] == asked


def test_only_items_with_few_events_are_asked_about_and_the_others_have_no_vector(world_folder, store):
    artifacts = upto_vectors(world_folder, store, ON, "item_knowledge.max_events=20")
    few = histories_of(artifacts).frequency() <= 20
    assert [text is not None for text in texts(artifacts)] == few.tolist() and 0 < few.sum() < 48
    vectors = schema.vectors_of(artifacts["item_vectors"].table("vectors"), schema.KNOWLEDGE)
    assert ((np.abs(vectors).sum(axis=1) > 0) == few).all()
    with pytest.raises(DataError, match=r"item_knowledge\.max_events: 1, but every item has more training events"):
        upto_vectors(world_folder, store, ON, "item_knowledge.max_events=1")


def test_shuffled_gives_every_item_the_knowledge_of_another_one(world_folder, store):
    own = texts(upto_vectors(world_folder, store, ON))
    other = texts(upto_vectors(world_folder, store, ON, "item_knowledge.control=shuffled"))
    assert sorted(own) == sorted(other) and all(a != b for a, b in zip(own, other, strict=True))


def test_a_file_brings_the_words_of_anybody(world_folder, store, tmp_path):
    settings = file_of(tmp_path / "known.jsonl", {"i000": "hot and loud", "i047": "cold", "elsewhere": "x"})
    artifacts = upto_vectors(world_folder, store, *settings)
    assert [text for text in texts(artifacts) if text] == ["hot and loud", "cold"]
    wanted = {"items": 48, "asked": 48, "known": 2, "matched": 2, "unmatched": 1, "empty": 0, "author": "somebody"}
    assert summary(artifacts) == wanted
    assert artifacts["item_vectors"].manifest.summary["known"] == 2
    file_of(tmp_path / "known.jsonl", {"i000": "hot"})
    assert upto_vectors(world_folder, store, *settings)["item_knowledge"].key != artifacts["item_knowledge"].key
    with pytest.raises(DataError, match=r"item_knowledge\.control: shuffled, but only 1 items have knowledge"):
        upto_vectors(world_folder, store, *settings, "item_knowledge.control=shuffled")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["item_knowledge.source=known.csv"], "source='known.csv' is a file, and author is not set"),
        (["item_knowledge.author=me"], "author='me', but the LLM of the recipe is asked"),
    ],
)
def test_nobody_s_words_pass_for_those_of_another(world_folder, overrides, said):
    with pytest.raises(SettingError, match=said):
        planted.recipe(world_folder, *overrides)


def test_a_run_that_is_interrupted_while_asking_loses_no_reply(world_folder, store):
    """Of 10 replies, the last 2 are a chunk of their own. The result is that of an uninterrupted run, byte for byte."""

    class Breaking(FakeGenerator):
        def generate(self, requests):
            for number, reply in enumerate(super().generate(requests)):
                if number == 10:
                    raise KeyboardInterrupt
                yield reply

    class BreakingEngines(Engines):
        def generator(self, max_tokens=None):
            return Breaking(4)

    with pytest.raises(KeyboardInterrupt):
        upto_vectors(world_folder, store, ON, engines=BreakingEngines)
    (folder,) = (store.root / "replies").iterdir()
    assert ReplyStore(store.root, folder.name).read().num_rows == 10
    resumed = upto_vectors(world_folder, store, ON)
    assert summary(resumed)["llm_requests"] == 48 - 10
    shutil.rmtree(store.root / "replies")
    shutil.rmtree(store.root / "item_knowledge")
    whole = upto_vectors(world_folder, store, ON)
    assert whole["item_knowledge"].manifest.files == resumed["item_knowledge"].manifest.files


class Answering(Engines):
    """The fake, with replies of our own: a malformed one first for every third item, then for good."""

    def generator(self, max_tokens=None):
        class Replying(FakeGenerator):
            def generate(self, requests):
                for number, (request, reply) in enumerate(zip(requests, super().generate(requests), strict=True)):
                    bad = number % 3 == 0
                    yield Reply(request.key, "Sorry." if bad else reply.text, 1, 1, "stop")

        return Replying(4)


def test_malformed_replies_are_asked_for_again_and_counted(world_folder, store):
    artifacts = upto_vectors(world_folder, store, ON, "llm.retries=1", engines=Answering)
    # 48 asked, 16 malformed; of these asked again, 6 (numbers 0, 3, ..., 15) are malformed.
    counts = summary(artifacts)
    assert (counts["llm_requests"], counts["malformed"], counts["known"]) == (48 + 16, 6, 48 - 6)
    reasons = artifacts["item_knowledge"].table("replies")[schema.REASON].to_pylist()
    assert [reasons.count(reason) for reason in ("no field knowledge", None)] == [6, 42]


def test_no_usable_reply_at_all_says_why(world_folder, store):
    class Silent(Engines):
        def generator(self, max_tokens=None):
            class Cut(FakeGenerator):
                def generate(self, requests):
                    for request in requests:
                        yield Reply(request.key, '{"know', 1, 1, "length")

            return Cut(4)

    said = r"item_knowledge: no reply of the LLM held a usable .*cut by item_knowledge\.max_tokens .*; raise item_knowl"
    with pytest.raises(DataError, match=said):
        upto_vectors(world_folder, store, ON, engines=Silent)


def test_a_training_node_finds_the_vectors_by_the_lock_and_sees_a_changed_file(world_folder, store, tmp_path):
    settings = file_of(tmp_path / "known.jsonl", {"i000": "hot"})
    artifacts = upto_vectors(world_folder, store, *settings)
    behind = settings_behind(planted.recipe(world_folder, *settings), "item_vectors")
    dataset = artifacts["dataset"].key
    save_lock(store, behind, artifacts["item_vectors"])
    assert read_lock(store, behind, dataset).key == artifacts["item_vectors"].key
    assert read_lock(store, settings_behind(planted.recipe(world_folder), "item_vectors"), dataset) is None
    file_of(tmp_path / "known.jsonl", {"i000": "cold"})
    with pytest.raises(ArtifactError, match=r"what item_knowledge\.source names has changed"):
        read_lock(store, behind, dataset)
    (tmp_path / "known.jsonl").unlink()
    assert read_lock(store, behind, dataset).key == artifacts["item_vectors"].key
    by_llm = [settings_behind(planted.recipe(world_folder, ON, *more), "item_vectors") for more in ([], ["llm.seed=1"])]
    assert by_llm[0] != by_llm[1] != behind
