"""A hostile checkpoint, or a damaged one with new digests: refused in one line, before any memory is taken for it."""

import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from eimf import schema
from eimf.backbones.build import build_backbone, outline
from eimf.backbones.registry import BACKBONES
from eimf.data.histories import read_histories
from eimf.errors import ArtifactError
from eimf.semantics.supervision import read_supervision, text_only_supervision
from eimf.store import keys
from eimf.store.artifact import Artifact, Store
from eimf.store.folder import FolderHome
from eimf.store.manifest import FileEntry
from pipeline.report.store import show_store
from pipeline.serving import load_backbone, load_recommender, recommender_of
from pipeline.stages.load import histories_of
from pipeline.stages.stage_two import run_train
from pipeline.trained import find_model
from tests import world as planted
from tests.backbones.test_backbones import ITEMS, small
from tests.calibrated import calibration_of

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, world_folder) -> tuple[Artifact, Artifact]:
    """A checkpoint and its dataset."""
    store = Store(tmp_path_factory.mktemp("store"))
    recipe = planted.recipe(world_folder, "heads.preset=plain", "train.epochs=1")
    checkpoint = run_train(recipe, store).checkpoint
    return checkpoint, store.get("dataset", checkpoint.manifest.parents["dataset"])


@pytest.fixture(scope="module")
def calibration(trained) -> Artifact:
    """A calibration of the checkpoint, in its store."""
    checkpoint, _ = trained
    return calibration_of(Store(checkpoint.folder.parents[1]), checkpoint)


def forged(artifact: Artifact, **manifest: Any) -> Artifact:
    """The artifact with another manifest, which nothing vouches for."""
    return replace(artifact, manifest=artifact.manifest.model_copy(update=manifest), _checked=set())


def with_weights(checkpoint: Artifact, folder: Path, content: dict[str, Tensor] | bytes) -> Artifact:
    """The checkpoint with other weights, or with other bytes instead of them, and with their digest."""
    data = content if isinstance(content, bytes) else save(content)
    entry = FileEntry(sha256=keys.bytes_digest(data), size=len(data))
    changed = replace(forged(checkpoint, files={WEIGHTS: entry}), home=FolderHome(folder))
    changed.folder.mkdir(parents=True, exist_ok=True)
    (changed.folder / WEIGHTS).write_bytes(data)
    return changed


def refused(checkpoint: Artifact, dataset: Artifact, *parts: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        recommender_of(checkpoint, dataset)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and len(message) < 700
    for part in parts:
        assert part in message


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Two gigabytes of address space more than is in use: asking for more fails with an error of torch."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_an_outline_has_the_names_shapes_and_types_of_the_weights(name):
    real, drawn = build_backbone(small(name), ITEMS, seed=0).state_dict(), outline(small(name), ITEMS).state_dict()
    assert {key: (value.shape, value.dtype) for key, value in real.items()} == {
        key: (value.shape, value.dtype) for key, value in drawn.items()
    }
    assert all(value.is_meta for value in drawn.values())


@pytest.mark.parametrize(
    ("configuration", "part"),
    [
        ({}, "configuration.model"),
        ({"model": None}, "configuration.model"),
        ({"model": []}, "configuration.model"),
        ({"model": {"backbone": 5}}, "configuration.model.backbone"),
        ({"model": {"backbone": "os.system"}}, "'os.system' is not known"),
        ({"model": {"backbone": "../sasrec"}}, "is not known"),
        ({"model": {"width": "wide"}}, "configuration.model.width"),
        ({"model": {"width": 10**18}}, "configuration.model.width"),
        ({"model": {"options": []}}, "configuration.model.options"),
        ({"model": {"options": {"sasrec": {"layers": 10**6}}}}, "model.options.sasrec.layers"),
        ({"model": {"options": {"sasrec": {"heads": 3}}}}, "cannot be shared by heads=3"),
        ({"model": {"secret": 1}}, "configuration.model.secret"),
        ({"model": {"dropout": 7}}, "configuration.model.dropout"),
        ({"model": {"dropout": "x" * 5000}}, "configuration.model.dropout"),
        ({"keep_seen": None}, "configuration.keep_seen"),
        ({"keep_seen": "no"}, "configuration.keep_seen"),
        ({"revision": "1"}, "configuration.revision"),
        ({"revision": 7}, "revision 7 of sasrec trained it"),
        ({"model": {"backbone": "hstu", "options": {}}}, "model.safetensors"),
        ({"model": {"width": 16}}, "the model wants F32"),
        ({"model": {"max_length": 65536}}, "'position' as F32 [16, 32], the model wants F32 [65536, 32]"),
        ({"model": {"options": {"sasrec": {"layers": 64}}}}, "lacks the tensor 'blocks.10."),
        ({"model": {"options": {"sasrec": {"layers": 1}}}}, "has a tensor 'blocks.1."),
        ({"model": {"width": 8192, "options": {"sasrec": {"layers": 64, "feed_forward": 65536}}}}, "model.safetensors"),
    ],
)
def test_a_configuration_that_does_not_fit(trained, little_memory, configuration, part):
    checkpoint, dataset = trained
    before = checkpoint.manifest.configuration
    after = {**before, **configuration}
    if isinstance(configuration.get("model"), dict) and configuration["model"]:
        after["model"] = {**before["model"], **configuration["model"]}
    refused(forged(checkpoint, configuration=after if configuration else {}), dataset, part)


def test_weights_that_do_not_fit(trained, tmp_path):
    checkpoint, dataset = trained
    weights = load_file(checkpoint.file(WEIGHTS))
    name = "norm.weight"
    for content, part in (
        ({key: value for key, value in weights.items() if key != name}, f"lacks the tensor '{name}'"),
        ({**weights, "more": torch.zeros(1)}, "has a tensor 'more', which the model does not have"),
        ({**weights, "x" * 5000: torch.zeros(1)}, "has a tensor 'xxx"),
        ({**weights, name: weights[name].double()}, f"'{name}' as F64 [32], the model wants F32 [32]"),
        ({**weights, name: weights[name].half()}, "F16"),
        ({**weights, name: weights[name][:-1].clone()}, f"'{name}' as F32 [31], the model wants F32 [32]"),
        ({**weights, name: weights[name].unsqueeze(0).clone()}, "F32 [1, 32]"),
        ({}, "lacks the tensor"),
        (b"", "is not a safetensors file"),
        (b"PK\x03\x04 something zipped", "is not a safetensors file"),
        ((2**60).to_bytes(8, "little") + b"{}", "is not a safetensors file"),
        (checkpoint.file(WEIGHTS).read_bytes()[:-4], "is not a safetensors file"),
        ((8).to_bytes(8, "little") + b"[" * 8, "is not a safetensors file"),
    ):
        refused(with_weights(checkpoint, tmp_path, content), dataset, part)
    _, same = load_backbone(with_weights(checkpoint, tmp_path, weights), len(weights["item_table.weight"]) - 1)
    assert torch.equal(same.state_dict()[name], weights[name])


def test_a_calibration_holds_all_of_its_backbone(trained, calibration):
    checkpoint, dataset = trained
    weights = load_file(calibration.file(WEIGHTS))
    told, model = load_backbone(calibration, len(weights["item_table.weight"]) - 1)
    assert told.model == load_backbone(checkpoint, len(model.item_vectors))[0].model and told.keep_seen is False
    assert weights["item_table.weight"].shape[1] == told.model.width + 9 + 1 == model.base_width + 10
    state = model.serving_state_dict()
    assert state.keys() == weights.keys() and all(torch.equal(state[name], weights[name]) for name in state)
    store = Store(checkpoint.folder.parents[1])
    assert find_model(store, calibration.short) == calibration and find_model(store, checkpoint.key) == checkpoint
    ids = recommender_of(checkpoint, dataset).item_ids
    plain, other = (load_recommender(store, each.key).recommend([ids[:3]])[0] for each in (checkpoint, calibration))
    assert [item.item_id for item in plain.items] != [item.item_id for item in other.items]
    with pytest.raises(ArtifactError, match="2 checkpoints and calibrations begin with ''"):
        load_recommender(store, "")


def test_a_calibration_that_does_not_fit(trained, calibration, little_memory, tmp_path):
    _, dataset = trained
    weights = load_file(calibration.file(WEIGHTS))
    table, square = weights["item_table.weight"], weights["mean_map"]
    for content, part in (
        ({name: value for name, value in weights.items() if name != "mean_map"}, "has no 'mean_map' that is a matrix"),
        ({**weights, "mean_map": torch.zeros(10**15, 0)}, "has no 'mean_map' that is a matrix of up to 16,384 rows"),
        ({**weights, "mean_map": torch.zeros(81)}, "has no 'mean_map' that is a matrix"),
        ({**weights, "mean_map": square[:, :-1].clone()}, "'mean_map' as F32 [9, 8], the model wants F32 [9, 9]"),
        ({**weights, "mean_map": torch.zeros(0, 0)}, "[49, 42], the model wants F32 [49, 33]"),
        ({**weights, "mean_map": torch.zeros(16_384, 1)}, "the model wants F32 [49, 16417]"),
        ({**weights, "last_map": square.double()}, "'last_map' as F64 [9, 9]"),
        ({**weights, "item_table.weight": table[:, :-1].clone()}, "[49, 41], the model wants F32 [49, 42]"),
        ({**weights, "item_table.weight": table[:-1].clone()}, "[48, 42], the model wants F32 [49, 42]"),
        ({name.removeprefix("backbone."): value for name, value in weights.items()}, "lacks the tensor 'backbone."),
        ({**weights, "backbone.item_table.weight": table[:, :32].clone()}, "has a tensor 'backbone.item_table.weight'"),
        ({**weights, "texts": torch.zeros(3)}, "has a tensor 'texts', which the model does not have"),
        (b"", "is not a safetensors file"),
    ):
        refused(with_weights(calibration, tmp_path, content), dataset, "calibration", part)
    for told, part in (
        ({}, "its manifest does not tell configuration.trained"),
        ({"trained": 5}, "its manifest does not tell configuration.trained"),
        ({"trained": {"keep_seen": False}}, "configuration.model"),
        ({"trained": {**calibration.manifest.configuration["trained"], "revision": 9}}, "revision 9 of sasrec"),
    ):
        refused(forged(calibration, configuration=told), dataset, "calibration", part)


def test_a_calibration_of_biases_only(trained):
    """Without a source of pairs of items there are no further coordinates."""
    checkpoint, dataset = trained
    only_biases = calibration_of(Store(checkpoint.folder.parents[1]), checkpoint, further=0)
    _, model = load_backbone(only_biases, int(dataset.summary_number("items")))
    assert model.item_table.weight.shape[1] == model.base_width + 1 and model.mean_map.shape == (0, 0)
    assert len(recommender_of(only_biases, dataset).recommend_one(["i001"], 5).items) == 5


def test_of_another_catalogue(trained):
    checkpoint, _ = trained
    with pytest.raises(ArtifactError, match=r"'item_table.weight' as F32 \[49, 32\], the model wants F32 \[8, 32\]"):
        load_backbone(checkpoint, 7)


def sealed(store: Store, kind: str, parents: dict[str, str], configuration: dict[str, Any]) -> Artifact:
    """An artifact whose manifest is whole, whatever it says."""
    key = keys.stage_key(kind, 1, parents, configuration)
    record = {"configuration": configuration, "tools": {}, "created": "2026-01-01T00:00:00+00:00", "seconds": 1.0}
    with store.staging(key) as staging:
        (staging.folder / WEIGHTS).write_bytes(b"none")
        return store.commit(staging, kind, key, 1, parents, record)


def test_a_checkpoint_without_weights_or_without_a_dataset(trained, tmp_path):
    checkpoint, dataset = trained
    refused(forged(checkpoint, files={}), dataset, "no such file")
    store = Store(tmp_path)
    alone = sealed(store, "checkpoint", {}, checkpoint.manifest.configuration)
    with pytest.raises(ArtifactError, match=r"checkpoint .*: its manifest names no dataset that it was built from"):
        load_recommender(store, alone.key)


def test_a_manifest_that_does_not_tell_what_was_trained_is_listed_as_damaged(tmp_path, capsys):
    store, parents = Store(tmp_path), {"dataset": "0" * 64}
    told = {"model": {"backbone": "dnn"}, "train": {"seed": 1}}
    whole = sealed(store, "checkpoint", parents, told)
    damaged = [
        sealed(store, "checkpoint", {}, told),
        sealed(store, "checkpoint", parents, {}),
        sealed(store, "checkpoint", parents, {"model": {}, "train": {}}),
        sealed(store, "checkpoint", parents, {"model": "sasrec", "train": {"seed": 1}}),
        sealed(store, "checkpoint", parents, {**told, "train": {"seed": [1]}}),
        sealed(store, "metrics", {}, {}),
    ]
    show_store(store)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and sum("dnn seed=1" in line for line in lines if whole.short in line) == 1
    for artifact in damaged:
        (line,) = (line for line in lines if artifact.short in line)
        assert line.startswith("damaged: ") and "its manifest does not tell" in line


@pytest.mark.parametrize("value", [None, "many", [1], True])
def test_a_count_that_is_no_number_is_damage(trained, value):
    checkpoint, _ = trained
    with pytest.raises(ArtifactError, match=r".epochs. in its summary is"):
        forged(checkpoint, summary={"epochs": value} if value is not None else {}).summary_number("epochs")


def changed(table: pa.Table, name: str, values: list[Any] | None, kind: pa.DataType | None = None) -> pa.Table:
    column = table.column_names.index(name)
    if values is None:
        return table.remove_column(column)
    return table.set_column(column, name, pa.array(values, kind or table.schema.field(name).type))


def test_tables_of_other_columns_types_and_values_are_refused(trained):
    _, dataset = trained
    histories = histories_of({"dataset": dataset})
    users, items = histories.num_users, histories.num_items
    table, cases = dataset.table("users"), dataset.table("eval_cases")
    for name, values, kind, part in (
        (schema.NUM_TRAIN, None, None, "has no column num_train"),
        (schema.NUM_EVENTS, [1.5] * users, pa.float64(), "has double, not int32"),
        (schema.NUM_EVENTS, ["i"] * users, pa.string(), "has string, not int32"),
        (schema.NUM_EVENTS, [None, *[1] * (users - 1)], None, "has 1 empty cells"),
    ):
        with pytest.raises(ArtifactError, match=part):
            read_histories(histories.item_idx, changed(table, name, values, kind), cases, num_items=items)
    with pytest.raises(ArtifactError, match="has no column history_end"):
        read_histories(histories.item_idx, table, changed(cases, schema.HISTORY_END, None), num_items=items)
    vectors = pa.array([[0.6, 0.8]] * items, schema.vector_type(2))
    texts = pa.table([pa.array(range(1, items + 1), pa.int32()), vectors], schema=schema.item_vectors(2))
    text_only_supervision(texts, histories)
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float64(), 2), pa.list_(pa.float32(), 3)):
        wide = [[0.6, 0.8, 0.0][: 3 if kind == pa.list_(pa.float32(), 3) else 2]] * items
        other = changed(texts, schema.VECTOR, wide, kind)
        with pytest.raises(ArtifactError):
            read_supervision(other, users_table(users), interests_table(0), histories)
    read_supervision(texts, users_table(users), interests_table(0), histories)
    for clusters in ((1,), (-1,), (2**31 - 1,), (1, 0), (0,) * 257):
        with pytest.raises(ArtifactError, match="esim: interests are not sorted by cluster, of clusters without users"):
            read_supervision(texts, users_table(users), interests_table(*clusters), histories)
    for cluster in (-2, users, 2**31 - 1):  # -1: in no cluster
        with pytest.raises(ArtifactError, match="esim: clusters"):
            read_supervision(texts, users_table(users, cluster), interests_table(0), histories)


def users_table(users: int, cluster: int = 0) -> pa.Table:
    """All users in cluster 0, but the last."""
    clusters = [*[0] * (users - 1), cluster]
    columns = [list(range(users)), clusters, [-1] * users]
    return pa.table(columns, schema=schema.ESIM_USERS)


def interests_table(*clusters: int) -> pa.Table:
    """One interest for each of the `clusters`."""
    columns = [list(range(len(clusters))), list(clusters), [[0.6, 0.8]] * len(clusters), [None] * len(clusters)]
    return pa.table(columns, schema=schema.esim_interests(2))
