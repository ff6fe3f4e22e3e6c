"""Stage two end to end: frozen artifacts, the plain backbone, hits, refusals."""

import json
import shutil
import time

import pytest

from eimf.backbones.sasrec import SASRec
from eimf.config import ModelSettings
from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Store
from pipeline.backends import device
from pipeline.commands.check import run_check
from pipeline.report.results import show_results
from pipeline.stages.checkpoint import check_memory
from pipeline.stages.resolve import stage_two_artifacts
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import find_trained, run_evaluate, run_train
from tests import world as planted

PLAIN = ("heads.preset=plain",)
CURVE = ("loss", "valid_ndcg@10")


@pytest.fixture(scope="module")
def store(tmp_path_factory, world_folder) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run_esim(planted.recipe(world_folder), store)
    return store


def curve(result) -> list[dict[str, float]]:
    return [json.loads(line) for line in result.checkpoint.file("epochs.jsonl").read_text().splitlines()]


def test_two_backbones_share_one_artifact_and_no_request_is_sent(store, world_folder, capsys):
    replies = sorted((store.root / "replies").rglob("*"))
    results = [
        run_train(planted.recipe(world_folder, planted.INTERESTS, f"model.backbone={name}"), store)
        for name in ("comirec-sa", "sasrec")
    ]
    parents = [result.checkpoint.manifest.parents for result in results]
    assert parents[0] == parents[1] and set(parents[0]) == {"dataset", "esim"}
    assert capsys.readouterr().out.count("is frozen; LLM requests: 0") == 2
    assert sorted((store.root / "replies").rglob("*")) == replies


def test_a_training_is_found_by_its_recipe_and_none_is_run(store, world_folder, capsys):
    trained = run_train(planted.recipe(world_folder, *PLAIN), store).checkpoint
    before = capsys.readouterr() and sorted(store.root.rglob("*"))
    assert find_trained(planted.recipe(world_folder, *PLAIN), store).key == trained.key
    with pytest.raises(ArtifactError, match="not trained yet; run `make train`"):
        find_trained(planted.recipe(world_folder, *PLAIN, "train.seed=78"), store)
    assert sorted(store.root.rglob("*")) == before and not capsys.readouterr().out


@pytest.mark.parametrize("settings", [(), PLAIN])
def test_the_signal_check_reads_the_artifact_and_trains_nothing(store, world_folder, capsys, settings):
    before = sorted((store.root / "checkpoint").rglob("*"))
    run_check(planted.recipe(world_folder, *settings), store)
    said = capsys.readouterr().out
    rows = {line.split("  ")[0]: line.split() for line in said.splitlines()}
    sources = {"popularity", "lifecycle", "cooccurrence", "text", "interests"}
    assert sources | {f"interests, {control}" for control in ("shuffled", "random", "cluster", "titles")} <= rows.keys()
    assert float(rows["cooccurrence"][1]) > 1  # in the planted world a user has items of two groups
    assert sorted((store.root / "checkpoint").rglob("*")) == before


def test_a_second_run_is_a_hit_and_leaves_no_work_behind(store, world_folder):
    first, second = (run_train(planted.recipe(world_folder), store) for _ in range(2))
    assert first.checkpoint.key == second.checkpoint.key and first.metrics.key == second.metrics.key
    assert not (store.root / "runs" / first.checkpoint.key).exists()


def test_weights_of_zero_are_the_plain_backbone_which_needs_no_artifact(store, world_folder):
    plain = run_train(planted.recipe(world_folder, *PLAIN), store)
    assert set(plain.checkpoint.manifest.parents) == {"dataset"}
    zeros = [f"heads.{name}=0" for name in ("smoothing.item", "alignment.items", "alignment.semantic")]
    assert run_train(planted.recipe(world_folder, *PLAIN, *zeros), store).checkpoint.key == plain.checkpoint.key
    weights = [*PLAIN, *(f"heads.alignment.{name}=1e-30" for name in ("items", "users", "semantic"))]
    tiny = run_train(planted.recipe(world_folder, *weights), store)
    # Too small to change a float32: the same curve bit for bit, though the heads were there.
    assert [line["valid_ndcg@10"] for line in curve(tiny)] == [line["valid_ndcg@10"] for line in curve(plain)]
    assert [line["rec"] for line in curve(tiny)] == [line["loss"] for line in curve(plain)]
    assert (
        tiny.checkpoint.file("model.safetensors").read_bytes()
        == plain.checkpoint.file("model.safetensors").read_bytes()
    )


def test_cooccurrence_needs_the_dataset_alone(store, world_folder):
    result = run_train(planted.recipe(world_folder, *PLAIN, "heads.smoothing.cooccurrence=0.2"), store)
    assert set(result.checkpoint.manifest.parents) == {"dataset"}
    assert result.label == "sasrec plain smoothing.cooccurrence=0.2"
    assert curve(result)[-1]["soft"] > 0
    plain = run_train(planted.recipe(world_folder, *PLAIN), store)
    assert "cooccurrence" not in str(plain.checkpoint.manifest.configuration)


def test_a_backbone_of_another_revision_is_trained_again(store, world_folder, monkeypatch):
    recipe = planted.recipe(world_folder, *PLAIN)
    before = run_train(recipe, store)
    monkeypatch.setattr(SASRec, "revision", 2)
    after = run_train(recipe, store)
    assert after.checkpoint.key != before.checkpoint.key
    assert [result.checkpoint.manifest.configuration["revision"] for result in (before, after)] == [1, 2]


@pytest.mark.parametrize("preset", ["paper", "text"])
def test_a_checkpoint_holds_the_backbone_alone(store, world_folder, preset):
    from safetensors import safe_open

    result = run_train(planted.recipe(world_folder, f"heads.preset={preset}"), store)
    with safe_open(result.checkpoint.file("model.safetensors"), framework="pt") as stream:
        names = set(stream.keys())
        assert not any(32 in stream.get_slice(name).get_shape()[1:] and "text" in name for name in names)
    assert not any(name.startswith(("heads", "project", "attention.")) for name in names)
    assert "item_table.weight" in names


def test_evaluate_measures_a_finished_training_again(store, world_folder, capsys):
    trained = run_train(planted.recipe(world_folder), store)
    again = run_evaluate(planted.recipe(world_folder, "evaluate.cutoffs=[1, 3]"), store)
    assert again.checkpoint.key == trained.checkpoint.key and again.metrics.key != trained.metrics.key
    assert {row["k"] for row in again.metrics.table("metrics").to_pylist()} == {1, 3}
    for result, shown in ((again, "ndcg@1 recall@1 ndcg@3 recall@3 mrr@3"), (trained, "ndcg@10 recall@10 ndcg@20")):
        capsys.readouterr()
        show_results([result])
        assert " ".join(capsys.readouterr().out.split()).startswith(shown)
    with pytest.raises(ArtifactError, match="not trained yet; run `make train`"):
        run_evaluate(planted.recipe(world_folder, "train.seed=77"), store)


def test_a_copied_store_is_enough(store, world_folder, tmp_path):
    # As on a training node: no raw data, no model, only what artifacts/README.md says to copy.
    for kind in ("dataset", "item_vectors", "esim", "refs"):
        shutil.copytree(store.root / kind, tmp_path / "copy" / kind)
    for settings in ((), ("heads.preset=text",), PLAIN):
        recipe = planted.recipe(world_folder, *settings)
        result = run_train(recipe.model_copy(update={"folder": tmp_path / "nowhere"}), Store(tmp_path / "copy"))
        assert result.metrics.key == run_train(recipe, store).metrics.key


def test_a_training_with_texts_alone_does_not_depend_on_the_prompt(store, world_folder):
    text, interests = [], []
    for prompt in ("llm.max_interests=7", "llm.max_interests=8"):
        run_esim(planted.recipe(world_folder, prompt), store)
        text.append(run_train(planted.recipe(world_folder, prompt, "heads.preset=text"), store))
        interests.append(run_train(planted.recipe(world_folder, prompt, planted.INTERESTS), store))
    assert len({result.checkpoint.key for result in text}) == 1
    assert set(text[0].checkpoint.manifest.parents) == {"dataset", "item_vectors"}
    assert len({result.checkpoint.key for result in interests}) == 2


def test_lexical_vectors_enter_a_training_that_asks_for_them_and_no_other(store, world_folder):
    usual = run_train(planted.recipe(world_folder, "heads.preset=text"), store)
    asks = ("heads.preset=text", 'heads.texts.use=["encoder", "lexical"]', "heads.texts.compare=centered")
    with pytest.raises(SettingError, match=r"heads\.texts\.use: lexical, .* set encoder\.lexical=128 and run"):
        run_train(planted.recipe(world_folder, *asks), store)
    esim = run_esim(planted.recipe(world_folder, "encoder.lexical=16"), store)
    items = esim["item_vectors"].table("vectors")
    plain = store.get("item_vectors", usual.checkpoint.parent("item_vectors")).table("vectors")
    assert items.drop_columns(["lexical"]).equals(plain) and esim["item_vectors"].key != usual.checkpoint.parent(
        "item_vectors"
    )
    asking = run_train(planted.recipe(world_folder, "encoder.lexical=16", *asks), store)
    assert asking.checkpoint.parent("item_vectors") == esim["item_vectors"].key
    # Titles name the group, and the next item is of one of the user's two groups.
    assert asking.metrics.manifest.summary["ndcg@10"] > 0.3
    assert run_train(planted.recipe(world_folder, "heads.preset=text"), store).metrics.key == usual.metrics.key


def test_texts_are_found_by_the_key_of_an_esim_artifact_too(store, world_folder):
    esim = run_esim(planted.recipe(world_folder), store)["esim"]
    recipe = planted.recipe(world_folder, "heads.preset=text")
    assert stage_two_artifacts(recipe, store, esim.key) == stage_two_artifacts(recipe, store)


def test_an_artifact_of_another_dataset_is_refused(store, tmp_path, world_folder):
    other_folder = planted.world(seed=9).write(tmp_path / "other")
    other = run_esim(planted.recipe(other_folder), store)["esim"]
    with pytest.raises(ArtifactError, match=f"esim: {other.short} was built from dataset .* this recipe's is"):
        run_train(planted.recipe(world_folder), store, other.key[:16])


def test_without_stage_one_there_is_nothing_to_train_on(tmp_path, world_folder):
    with pytest.raises(
        ArtifactError,
        match=r"^dataset of 'world': .* none for this recipe's data and stage-one settings; run `make esim`",
    ):
        run_train(planted.recipe(world_folder), Store(tmp_path))


def test_a_damaged_artifact_stops_the_training_and_nothing_is_kept(store, world_folder, tmp_path):
    shutil.copytree(store.root, tmp_path / "copy")
    copy = Store(tmp_path / "copy")
    recipe = planted.recipe(world_folder, planted.INTERESTS, "train.seed=5")
    path = stage_two_artifacts(recipe, copy)["esim"].folder / "interests.parquet"
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)
    before = sorted(copy.root.glob("checkpoint/*"))
    with pytest.raises(ArtifactError, match=r"interests\.parquet: damaged"):
        run_train(recipe, copy)
    assert sorted(copy.root.glob("checkpoint/*")) == before


@pytest.mark.parametrize("settings", [(), PLAIN])
def test_without_raw_data_and_without_its_dataset_the_reason_is_that_of_the_raw_data(settings, store, tmp_path):
    recipe = planted.recipe(tmp_path, *settings)
    problem = r"dataset\.interactions: no file or folder .*interactions\.parquet, and .* holds no dataset"
    with pytest.raises(ArtifactError, match=problem):
        run_train(recipe, store)


def test_two_datasets_of_one_name_are_not_mistaken_for_each_other(tmp_path):
    store = Store(tmp_path / "store")
    folders = [planted.world(seed=seed).write(tmp_path / str(seed) / "export") for seed in (1, 2)]
    keys = [run_esim(planted.recipe(folder), store)["esim"].key for folder in folders]
    recipes = [planted.recipe(folder, planted.INTERESTS) for folder in folders]
    assert [stage_two_artifacts(recipe, store)["esim"].key for recipe in recipes] == keys
    planted.world(seed=3).write(folders[0])  # the raw data changes after stage one
    with pytest.raises(ArtifactError, match="holds none for this recipe's data"):
        stage_two_artifacts(recipes[0], store)


def test_a_training_node_tells_folders_of_data_apart(tmp_path):
    store = Store(tmp_path / "store")
    folders = [planted.world(seed=seed).write(tmp_path / name) for seed, name in enumerate(("office", "beauty"))]
    keys = [run_esim(planted.recipe(folder), store)["dataset"].key for folder in folders]
    assert keys[0] != keys[1]
    for folder in folders:
        for path in folder.iterdir():
            path.unlink()  # no raw data there
    read_keys = [stage_two_artifacts(planted.recipe(folder), store)["dataset"].key for folder in folders]
    assert read_keys == keys
    (ref,) = (path for path in (store.root / "refs" / "dataset").iterdir() if keys[0] in path.read_text())
    ref.write_text("")
    with pytest.raises(ArtifactError, match=r"damaged .*; remove it, and run `make esim`"):
        stage_two_artifacts(planted.recipe(folders[0]), store)


def test_interests_of_another_prompt_are_not_taken_for_the_present_ones(store, tmp_path, world_folder):
    mine = tmp_path / "mine.toml"
    mine.write_text('version = 1\nsystem = "Name the interests."\n')
    recipe = planted.recipe(world_folder, planted.INTERESTS, f"prompt.template={mine}")
    esim = run_esim(recipe, store)["esim"]
    mine.write_text('version = 1\nsystem = "Name them, please."\n')
    with pytest.raises(ArtifactError, match=r"esim: what prompt\.template names has changed since .*; run `make esim`"):
        stage_two_artifacts(recipe, store)
    mine.unlink()  # a training node has no template, and needs none
    assert stage_two_artifacts(recipe, store)["esim"].key == esim.key


def test_texts_of_another_encoder_are_not_taken_for_the_present_ones(store, tmp_path, world_folder):
    folder = tmp_path / "encoder"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    recipe = planted.recipe(world_folder, f"encoder.model={folder}", "heads.preset=text")
    item_vectors = run_esim(recipe, store)["item_vectors"]
    assert stage_two_artifacts(recipe, store)["item_vectors"].key == item_vectors.key
    (folder / "model.safetensors").write_text("{ }")
    with pytest.raises(ArtifactError, match=r"item_vectors: what encoder\.model names has changed"):
        stage_two_artifacts(recipe, store)
    shutil.rmtree(folder)
    assert stage_two_artifacts(recipe, store)["item_vectors"].key == item_vectors.key


@pytest.mark.parametrize(
    ("loss", "setting", "reads"),
    [
        ("softmax", "negatives=9", False),
        ("softmax", "calibration=0.1", False),
        ("in-batch", "negatives=9", False),
        ("sampled", "negatives=9", True),
        ("sampled", "calibration=0.1", False),
        ("bce", "negatives=9", True),
        ("bce", "calibration=0.1", False),
        ("gbce", "negatives=9", True),
        ("gbce", "calibration=0.1", True),
    ],
)
def test_what_a_loss_does_not_read_trains_nothing_anew(store, world_folder, loss, setting, reads):
    settings = (*PLAIN, "train.epochs=1", "train.negatives=5", f"train.loss={loss}")
    plain, other = (
        run_train(planted.recipe(world_folder, *settings, *more), store).checkpoint
        for more in ((), (f"train.{setting}",))
    )
    assert (plain.key != other.key) is reads
    if reads:  # and it is read: another training
        curves = [each.file("epochs.jsonl").read_bytes() for each in (plain, other)]
        assert curves[0] != curves[1]


def test_a_diverging_training_is_an_error_not_a_perfect_score(store, world_folder):
    # Each step turns a weight w into w (1 - lr weight_decay) and more: after 13 of them beyond float32.
    diverging = ("train.lr=1000", "train.weight_decay=1000", "train.clip=0")
    with pytest.raises(SettingError, match=r"train\.lr: 1000\.0: the loss is (nan|inf) in epoch \d; lower it"):
        run_train(planted.recipe(world_folder, *diverging), store)


def test_bfloat16_is_refused_where_the_cpu_would_imitate_it(store, world_folder, monkeypatch):
    recipe = planted.recipe(world_folder, *PLAIN, "train.precision=bfloat16", "train.epochs=1")
    monkeypatch.setattr(device, "_NATIVE_BFLOAT16", set())
    with pytest.raises(SettingError, match=r'train\.precision: bfloat16, which this CPU.*; set it to "float32"'):
        run_train(recipe, store)
    monkeypatch.setattr(device, "_NATIVE_BFLOAT16", device.cpu_flags() or {"none"})
    if device.bfloat16_is_native():
        trained = run_train(recipe, store)
        monkeypatch.setattr(device, "_NATIVE_BFLOAT16", set())
        # One that was trained elsewhere is measured anywhere.
        assert run_evaluate(recipe, store).checkpoint.key == trained.checkpoint.key


def test_a_backbone_that_no_memory_holds_is_refused_before_it_is_built(store, world_folder, monkeypatch):
    monkeypatch.setattr("pipeline.stages.checkpoint.memory_of", lambda device: 64 << 30)  # on a larger machine too
    begin = time.process_time()
    recipe = planted.recipe(world_folder, *PLAIN, "model.width=8192", "model.options.sasrec.layers=64")
    with pytest.raises(
        SettingError, match=r"model \(sasrec\): [\d,]+ parameters take [\d,.]+ GiB to train, this machine has"
    ):
        run_train(recipe, store)
    assert time.process_time() - begin < 10
    tables = 48 * 8 + 16 * 8  # weights of the items and positions, of which SASRec has more besides
    with pytest.raises(SettingError, match=r"lower model\.width"):
        check_memory(ModelSettings(width=8, max_length=16), 48, available=12 * tables)
    check_memory(ModelSettings(width=8, max_length=16), 48, available=1 << 20)
