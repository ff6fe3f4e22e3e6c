"""Stage 7a with the fakes: real candidates, picks, what becomes of them in both stages, and nothing without it."""

import polars as pl
import pytest

from eimf import schema
from eimf.errors import ArtifactError, DataError, SettingError
from eimf.esim.fake import FakeGenerator
from eimf.esim.generate import Reply
from eimf.semantics.supervision import read_supervision
from eimf.store.artifact import Store
from pipeline.backends.engines import Engines
from pipeline.stages.load import histories_of
from pipeline.stages.lockfile import settings_behind
from pipeline.stages.stage_one import engines_of, run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted

PICKS = ("picks.enabled=true", "picks.candidates=12", "picks.picks=4")
TRAIN = ("heads.preset=text", "heads.smoothing.pick=0.1", "train.epochs=1")


@pytest.fixture(scope="module")
def finished(world_folder, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("picks"))
    return store, run_esim(planted.recipe(world_folder, *PICKS), store)


def test_the_candidates_are_new_to_the_typical_user_and_the_picks_are_of_the_users_kind(finished):
    _, artifacts = finished
    histories, groups = histories_of(artifacts), planted.item_groups(artifacts["dataset"].table("items"))
    of_cluster = dict(zip(*artifacts["typical_users"].table("typical_users").to_pydict().values(), strict=True))
    table = artifacts["picks"].table("picks").to_pylist()
    assert artifacts["picks"].manifest.summary["llm_requests"] == len(of_cluster) == 15
    for cluster, user in of_cluster.items():
        own = histories.item_idx[histories.offsets[user] :][: histories.num_train[user]].tolist()
        rows = [row for row in table if row["cluster"] == cluster]
        assert [row["number"] for row in rows] == list(range(1, 13))
        assert not {row["item_idx"] for row in rows} & set(own)
        picked = [groups[row["item_idx"]] for row in rows if row["picked"]]
        kinds = [groups[row["item_idx"]] for row in rows if groups[row["item_idx"]] in groups[own]]
        assert len(picked) == 4 and sum(group in groups[own] for group in picked) == min(4, len(kinds))
    prompts = artifacts["picks"].table("requests")[schema.PROMPT].to_pylist()
    assert all("Candidates:\n1. " in prompt and "\n12. " in prompt for prompt in prompts)


def test_only_esim_and_what_follows_it_have_other_keys(world_folder, finished, tmp_path):
    store, with_picks = finished
    without = run_esim(planted.recipe(world_folder), store)
    assert {kind for kind in without if without[kind].key != with_picks[kind].key} == {"esim"}
    assert with_picks["esim"].table("picks").equals(with_picks["picks"].table("picks"))
    assert "picks" not in without["esim"].manifest.parents
    assert without["esim"].table("users").equals(with_picks["esim"].table("users"))  # both prompts show the same events
    assert run_esim(planted.recipe(world_folder, *PICKS), store)["esim"].key == with_picks["esim"].key
    locked = settings_behind(planted.recipe(world_folder), "esim").settings
    assert "picks" not in locked
    assert settings_behind(planted.recipe(world_folder, *PICKS), "esim").settings["picks"]["picks"] == 4


def test_held_out_events_shape_neither_candidates_nor_prompts(finished, tmp_path):
    raw = planted.world()
    last = pl.col("order") >= pl.col("order").max().over("user_id") - 1
    moved = (pl.col("item_id").str.slice(1).cast(pl.Int64) + 1) % (planted.SIZE * len(planted.GROUPS))
    ids = pl.when(last).then(pl.lit("i") + moved.cast(pl.String).str.zfill(3)).otherwise("item_id").alias("item_id")
    folder = planted.World(raw.interactions.with_columns(ids), raw.items).write(tmp_path / "changed")
    changed = run_esim(planted.recipe(folder, *PICKS), Store(tmp_path / "store"))
    assert changed["dataset"].key != finished[1]["dataset"].key
    for name in ("requests", "picks"):
        assert changed["picks"].table(name).equals(finished[1]["picks"].table(name))


def test_an_interrupted_run_resumes_without_asking_twice(world_folder, finished, tmp_path):
    class Killed(Engines):
        def generator(self):
            class Stopping(FakeGenerator):
                def generate(self, requests):
                    for number, reply in enumerate(super().generate(requests)):
                        if number == 9 and "properties" in requests[0].json_schema:
                            raise KeyboardInterrupt
                        yield reply

            return Stopping(4)

    store, recipe = Store(tmp_path), planted.recipe(world_folder, *PICKS)
    with pytest.raises(KeyboardInterrupt):
        run_esim(recipe, store, engines_of(recipe, store, Killed))
    resumed = run_esim(recipe, store)["picks"]
    assert resumed.manifest.summary["llm_requests"] == 15 - 9  # two chunks of four, and what had finished
    assert resumed.key == finished[1]["picks"].key and resumed.table("picks").equals(
        finished[1]["picks"].table("picks")
    )


def test_picks_enter_a_training_under_a_key_of_its_own_and_so_does_each_control(world_folder, finished):
    store, artifacts = finished
    text = run_train(planted.recipe(world_folder, "heads.preset=text", "train.epochs=1"), store)
    assert set(text.checkpoint.manifest.parents) == {"dataset", "item_vectors"}
    picks = run_train(planted.recipe(world_folder, *PICKS, *TRAIN), store)
    assert picks.checkpoint.manifest.parents["esim"] == artifacts["esim"].key
    assert "smoothing.pick=0.1" in picks.label
    control = run_train(planted.recipe(world_folder, *PICKS, *TRAIN, "heads.control=candidates"), store)
    losses = [(result.checkpoint.folder / "epochs.jsonl").read_text() for result in (text, picks, control)]
    assert len({text.checkpoint.key, picks.checkpoint.key, control.checkpoint.key}) == len(set(losses)) == 3


def test_smoothing_toward_picks_needs_an_artifact_with_picks(world_folder, finished):
    store, _ = finished
    run_esim(planted.recipe(world_folder), store)
    with pytest.raises(SettingError, match=r"heads\.smoothing\.pick: esim \w+ has no picks of the LLM; set picks\.en"):
        run_train(planted.recipe(world_folder, *TRAIN), store)


def test_a_damaged_table_is_refused(finished):
    _, artifacts = finished
    tables = [artifacts["item_vectors"].table("vectors")]
    tables += [artifacts["esim"].table(name) for name in ("users", "interests")]
    picks = artifacts["esim"].table("picks")
    broken = picks.set_column(2, picks.schema.field(2), [picks[schema.ITEM].to_numpy() + 40])
    for table in (picks.slice(1), picks.slice(0, 0), broken):
        with pytest.raises(ArtifactError, match="picks are not sorted by cluster and number, or not of 15 clusters"):
            read_supervision(*tables, histories_of(artifacts), table)


@pytest.mark.parametrize(
    ("settings", "field", "said"),
    [
        (("picks.picks=20",), "picks", "picks=20 of candidates=20 is no choice in --set; lower picks"),
        (("picks.enabled=true", "picks.template=none"), "picks.template", "no template 'none' that can be read"),
    ],
)
def test_settings_that_cannot_be_meant_are_one_line(world_folder, tmp_path, settings, field, said):
    with pytest.raises(SettingError, match=rf"{field}.*: .*{said}"):
        run_esim(planted.recipe(world_folder, *settings), Store(tmp_path))


def test_too_few_candidates_and_replies_without_a_pick_say_so(world_folder, tmp_path):
    class Silent(Engines):
        def generator(self):
            class Replying(FakeGenerator):
                def generate(self, requests):
                    for request in requests:
                        picks = "properties" in request.json_schema
                        yield Reply(request.key, "Sorry." if picks else self._reply(request), 1, 1, "stop")

            return Replying(4)

    store, many = Store(tmp_path), planted.recipe(world_folder, *PICKS[:1], "picks.candidates=90", "picks.picks=80")
    with pytest.raises(DataError, match=r"picks\.picks: no cluster has more than 80 items that co-occur"):
        run_esim(many, store)
    recipe = planted.recipe(world_folder, *PICKS)
    with pytest.raises(
        DataError, match=r"picks: no reply of the LLM picks a candidate \(15 of 15: no number of a cand"
    ):
        run_esim(recipe, store, engines_of(recipe, store, Silent))
