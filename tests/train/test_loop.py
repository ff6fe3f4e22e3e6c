import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from eimf import schema
from eimf.backbones.build import build_backbone
from eimf.config import HeadSettings, ModelSettings, TrainSettings
from eimf.data.histories import Histories
from eimf.errors import ArtifactError, SettingError
from eimf.esim.encode import to_column
from eimf.evaluation.rank_users import mean_metric, rank_users
from eimf.losses.softmax import MatmulOptions
from eimf.semantics.build import build_side_information
from eimf.semantics.supervision import nearest_interests, read_supervision, text_alone
from eimf.train.loop import Progress, Trainer
from eimf.train.process_group import Group
from tests import world as planted

SETTINGS = TrainSettings(lr=5e-3, batch_positions=128, seed=7)
MODEL = ModelSettings(backbone="comirec-sa", width=16, max_length=10, dropout=0.3)
CLUSTERS = 5


@pytest.fixture(scope="module")
def data() -> Histories:
    return planted.histories()


def tables(data: Histories, last_read: np.ndarray | None = None) -> tuple[pa.Table, pa.Table, pa.Table]:
    """An ESIM artifact with random texts: clusters 0..3 have two interests, cluster 4 none."""
    rng = np.random.default_rng(0)
    users = np.arange(data.num_users, dtype=np.int32)
    read = np.full(data.num_users, -1, np.int32) if last_read is None else last_read.astype(np.int32)
    vectors = rng.standard_normal((data.num_items, 12)).astype(np.float32)
    items = pa.table({schema.ITEM: np.arange(1, data.num_items + 1, dtype=np.int32), schema.VECTOR: to_column(vectors)})
    user_table = pa.table(
        [users, users % CLUSTERS, np.ones(data.num_users, np.float32), read], schema=schema.ESIM_USERS
    )
    interests = pa.table(
        [
            np.repeat(np.arange(4, dtype=np.int32), 2),
            np.tile(np.arange(2, dtype=np.int32), 4),
            to_column(rng.standard_normal((8, 12))),
        ],
        schema=schema.esim_interests(12),
    )
    return items, user_table, interests


def trainer(
    data: Histories, align: float = 0.0, semantic: float = 0.0, *, preset: str = "plain", dropout: float = 0.3,
    half: bool = False, compiled: bool = False, **changes,
) -> Trainer:  # fmt: skip
    model = MODEL.model_copy(update={"dropout": dropout})
    backbone, semantics = build_backbone(model, data.num_items, 7), None
    given = {"align_items": align, "align_users": align, "semantic": semantic} if align or semantic else {}
    settings = HeadSettings(preset=preset, contrast_items=16, **given)
    if not settings.plain:
        supervision = read_supervision(*tables(data), data)
        semantics = build_side_information(backbone, supervision, data, settings, 7)
    return Trainer(
        backbone,
        semantics,
        data,
        SETTINGS.model_copy(update=changes),
        max_length=10,
        products=MatmulOptions(64, half),
        device=torch.device("cpu"),
        compiled=compiled,
    )


def run(job: Trainer, epochs: range) -> list[dict[str, float]]:
    return [job.epoch(number, lambda _: None) for number in epochs]


def same(a: Trainer, b: Trainer) -> bool:
    left, right = a.backbone.state_dict(), b.backbone.state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(data, weight):
    whole, first, second = (trainer(data, weight, weight) for _ in range(3))
    curve = run(whole, range(4))
    half = run(first, range(2))
    torch.manual_seed(99)  # whatever the outer random state is
    second.load({name: value.clone() for name, value in first.state().items()})
    assert half + run(second, range(2, 4)) == curve
    assert same(whole, second)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("loss", ["softmax", "sampled", "in-batch", "gbce"])
def test_a_training_stopped_within_an_epoch_goes_on_bit_for_bit(data, loss):
    whole, first, second = (trainer(data, 0.1, 0.1, loss=loss) for _ in range(3))
    curve = run(whole, range(2))
    kept: dict[str, torch.Tensor] = {}
    steps = []

    def on_progress(targets: int) -> None:
        steps.append(targets)
        if len(steps) == 3:
            kept.update({name: value.clone() for name, value in first.state().items()})
            raise Stopped

    with pytest.raises(Stopped):
        first.epoch(0, on_progress)
    second.load(kept)
    assert second.steps_done == 3 and second.targets_done == sum(steps)
    assert run(second, range(2)) == curve
    assert same(whole, second)


def test_the_sampled_loss_with_many_draws_tends_to_the_full_one(data):
    full, sampled = trainer(data), trainer(data, loss="sampled", negatives=20_000)
    # One epoch each from the same start: the estimate's spread is about 1 / sqrt(20,000).
    assert run(sampled, range(1))[0]["loss"] == pytest.approx(run(full, range(1))[0]["loss"], rel=0.01)


@pytest.mark.parametrize(
    ("loss", "negatives", "epochs"),
    [("softmax", 1, 40), ("sampled", 16, 40), ("in-batch", 1, 40), ("gbce", 1, 100), ("bce", 1, 100)],
)
def test_every_loss_learns(data, loss, negatives, epochs):
    job = trainer(data, loss=loss, negatives=negatives, lr=1e-2, dropout=0.1)
    run(job, range(epochs))
    ranking = rank_users(job.backbone, data, schema.TEST, max_length=10, keep_seen=True, block=64)
    # Chance is sum(1 / log2(rank + 1), rank 1..10) / 48 = .095.
    assert mean_metric(ranking, "ndcg", 10) > 0.14


def test_a_backbone_with_times_needs_them(data):
    model = ModelSettings(backbone="hstu", width=16, max_length=10, options={"hstu": {"time": True}})
    with pytest.raises(SettingError, match=r"dataset.columns.timestamp: no times, .* time=false"):
        Trainer(
            build_backbone(model, data.num_items, 7), None, replace(data, timestamps=None), SETTINGS,
            max_length=10, products=MatmulOptions(), device=torch.device("cpu"),
        )  # fmt: skip


@pytest.mark.parametrize("loss", ["in-batch", "bce"])
def test_losses_that_draw_items_train_in_one_process(data, loss):
    with pytest.raises(SettingError, match=f"train.loss: {loss}, with 2 processes"):
        Trainer(
            build_backbone(MODEL, data.num_items, 7), None, data, SETTINGS.model_copy(update={"loss": loss}),
            max_length=10, products=MatmulOptions(), device=torch.device("cpu"), group=Group(0, 2),
        )  # fmt: skip


def test_bfloat16_products_give_nearly_the_same_curve(data):
    exact, rounded = run(trainer(data), range(3)), run(trainer(data, half=True), range(3))
    assert exact != rounded
    assert [line["loss"] for line in rounded] == pytest.approx([line["loss"] for line in exact], rel=0.01)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, within its compiler
def test_compiled_and_eager_agree(data):
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    # With texts: the item table that the compiled part reads is composed of two.
    eager, compiled = (trainer(data, preset="text", dropout=0.0, compiled=value) for value in (False, True))
    for line, other in zip(run(eager, range(2)), run(compiled, range(2)), strict=True):
        assert other == pytest.approx(line, rel=1e-4)


def test_heads_with_tiny_weights_draw_no_random_number_from_the_backbone(data):
    # The limit of weight 0 is the plain backbone: same start, same batches, same dropout.
    plain, guided = trainer(data), trainer(data, 1e-12, 1e-12)
    assert same(plain, guided)
    assert run(plain, range(1))[0]["loss"] == pytest.approx(run(guided, range(1))[0]["rec"], rel=1e-5)


def test_the_losses_add_up(data):
    losses = run(trainer(data, 0.3, 0.2), range(1))[0]
    aligned = losses["align_items"] + losses["align_users"]
    assert losses["loss"] == pytest.approx(losses["rec"] + 0.3 * aligned + 0.2 * losses["semantic"], rel=1e-5)


def test_the_outer_random_state_is_left_alone(data):
    job = trainer(data)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    run(job, range(1))
    assert torch.equal(torch.rand(3), wanted)


def test_an_event_that_the_llm_has_read_is_not_supervised_by_it(data):
    # METHOD, fault 7.
    read = np.full(data.num_users, -1)
    read[3] = 4
    supervision = read_supervision(*tables(data, read), data)
    user, position = torch.tensor([3, 3, 3, 8]), torch.tensor([1, 4, 5, 1])
    assert supervision.clusters_for(user, position).tolist() == [-1, -1, 3, 3]


def test_a_cluster_without_interests_supervises_nobody(data):
    supervision = read_supervision(*tables(data), data)
    assert supervision.cluster[:6].tolist() == [0, 1, 2, 3, -1, 0]


def test_an_artifact_that_has_read_the_future_or_is_of_other_data_is_refused(data):
    read = np.full(data.num_users, -1)
    read[2] = data.num_train[2]  # the validation event
    with pytest.raises(ArtifactError, match=r"the LLM has read position .* of user_idx 2, which is to be predicted"):
        read_supervision(*tables(data, read), data)
    items, users, interests = tables(data)
    with pytest.raises(ArtifactError, match="esim: 89 users, the dataset has 90; give the esim artifact"):
        read_supervision(items, users.slice(1), interests, data)


def test_texts_alone_supervise_nobody_and_fit_the_dataset(data):
    items = tables(data)[0]
    found = text_alone(items, data)
    assert torch.equal(found.item_text, read_supervision(*tables(data), data).item_text)
    assert (found.clusters_for(torch.arange(data.num_users), torch.zeros(data.num_users, dtype=torch.long)) == -1).all()
    with pytest.raises(ArtifactError, match="item_vectors: 47 items, the dataset has 48; give the item_vectors"):
        text_alone(items.slice(1), data)


def test_early_stopping():
    standing = Progress()
    for value in (0.1, 0.3, 0.3, 0.2):
        standing = standing.after(value)
    assert standing == Progress(epochs=4, best=0.3, best_epoch=2)  # an equal value is no improvement
    assert standing.finished(epochs=9, patience=2) and not standing.finished(epochs=9, patience=3)
    assert standing.finished(epochs=4, patience=9)


def test_supervision_moves_whole(data):
    supervision = read_supervision(*tables(data), data)
    moved = supervision.to(torch.device("meta"))
    for name, value in vars(supervision).items():
        other = getattr(moved, name)
        assert (other.device.type, other.shape, other.dtype) == ("meta", value.shape, value.dtype)


def test_the_history_spreads_mass_over_the_items_that_read_like_its_mean(data):
    supervision = read_supervision(*tables(data), data)
    settings = HeadSettings(preset="plain", smooth_history=0.2, neighbours=3)
    semantics = build_side_information(build_backbone(MODEL, data.num_items, 7), supervision, data, settings, 7)
    assert semantics.near_history is not None and settings.source == "item_vectors"
    near = semantics.near_history(torch.tensor([3, 8]))
    for row, user in enumerate((3, 8)):
        own = data.item_idx[data.offsets[user] : data.offsets[user] + data.num_train[user]]
        mean = torch.nn.functional.normalize(supervision.item_text[own - 1].mean(dim=0), dim=0)
        wanted = (supervision.item_text @ mean).topk(3)
        assert near.items[row].tolist() == wanted.indices.tolist()
        torch.testing.assert_close(near.shares[row], (wanted.values / settings.smooth_temperature).softmax(dim=0))


def test_shares_fade_with_the_events_of_target_or_user(data):
    supervision = read_supervision(*tables(data), data)
    settings = HeadSettings(
        preset="plain", smooth_text=0.2, smooth_history=0.2, smooth_interests=0.2, smooth_fade=0.3, neighbours=3
    )
    semantics = build_side_information(build_backbone(MODEL, data.num_items, 7), supervision, data, settings, 7)
    assert semantics.near_items and semantics.near_history and semantics.near_interests
    _, event = data.training_events()
    seen = np.array([(data.item_idx[event] == item).sum() for item in range(1, data.num_items + 1)])
    by_item = torch.from_numpy(1 / (1 + 0.3 * seen)).float()
    everyone, items = torch.arange(data.num_users), torch.arange(data.num_items)
    torch.testing.assert_close(semantics.near_items(items).shares.sum(dim=1), by_item)
    by_user = torch.from_numpy(1 / (1 + 0.3 * data.num_train)).float()
    torch.testing.assert_close(semantics.near_history(everyone).shares.sum(dim=1), by_user)
    found = semantics.near_interests(torch.from_numpy(event)).shares.sum(dim=1)
    told = nearest_interests(supervision, data)[event] >= 0
    torch.testing.assert_close(found, by_item[data.item_idx[event] - 1] * told)
    assert 0 < told.sum() < len(told)


@pytest.mark.parametrize("table", ["start", "compose"])
@pytest.mark.parametrize("loss", ["softmax", "sampled", "in-batch", "gbce", "bce"])
def test_text_in_the_items_and_soft_labels_train_with_any_loss(data, table, loss):
    supervision = read_supervision(*tables(data), data)
    heads = HeadSettings(
        preset="plain",
        table=table,
        smooth_text=0.2,
        smooth_history=0.1,
        smooth_interests=0.1,
        neighbours=3,
        text_features=5,
    )
    jobs = []
    for _ in range(2):
        backbone = build_backbone(MODEL, data.num_items, 7)
        semantics = build_side_information(backbone, supervision, data, heads, 7)
        settings = SETTINGS.model_copy(update={"loss": loss, "negatives": 40})
        jobs.append(
            Trainer(
                backbone,
                semantics,
                data,
                settings,
                max_length=10,
                products=MatmulOptions(64),
                device=torch.device("cpu"),
            )
        )
    losses = run(jobs[0], range(3))
    assert losses[0]["loss"] == pytest.approx(losses[0]["rec"] + losses[0].get("soft", 0), rel=1e-5)
    assert 0 < losses[-1]["loss"] < losses[0]["loss"]
    assert run(jobs[1], range(3)) == losses
    # What is saved is a plain backbone.
    plain = build_backbone(MODEL, data.num_items, 1)
    plain.load_state_dict(jobs[0].backbone.serving_state_dict())
    assert torch.equal(plain.item_vectors, jobs[0].backbone.item_vectors)
