import shutil
from dataclasses import replace

import pytest
import torch

from eimf import schema
from eimf.backbones.build import build_backbone
from eimf.config import HeadSettings, ModelSettings, TrainSettings
from eimf.data.histories import Histories
from eimf.errors import SettingError
from eimf.evaluation.rank_users import mean_metric, rank_users
from eimf.parallel.process_group import Group
from eimf.semantics.build import build_side_information
from eimf.semantics.supervision import read_supervision
from eimf.train.execution import Execution
from eimf.train.loop import Progress, Trainer
from tests import world as planted
from tests.train.frozen import tables

SETTINGS = TrainSettings(lr=5e-3, batch_positions=128, seed=7)
MODEL = ModelSettings(backbone="comirec-sa", width=16, max_length=10, dropout=0.3)


@pytest.fixture(scope="module")
def data() -> Histories:
    return planted.histories()


def trainer(
    data: Histories,
    align: float = 0.0,
    semantic: float = 0.0,
    *,
    preset: str = "plain",
    texts: dict[str, object] | None = None,
    dropout: float = 0.3,
    compiled: bool = False,
    **changes,
) -> Trainer:
    model = MODEL.model_copy(update={"dropout": dropout})
    backbone, semantics = build_backbone(model, data.num_items, 7), None
    given = {"alignment": {"items": align, "users": align, "semantic": semantic}} if align or semantic else {}
    settings = HeadSettings(preset=preset, **given, **(texts or {}))
    if not settings.plain:
        supervision = read_supervision(*tables(data), data)
        semantics = build_side_information(backbone, supervision, data, settings, 7)
    return Trainer(
        backbone,
        semantics,
        data,
        SETTINGS.model_copy(update=changes),
        max_length=10,
        execution=Execution(torch.device("cpu"), block_rows=64, compiled=compiled),
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


@pytest.mark.parametrize("item_init", ["text_residual", "text_adaptor", "text_adaptor_residual"])
def test_a_training_on_whitened_texts_resumes_bit_for_bit(data, item_init):
    texts = {"item_init": item_init, "texts": {"compare": "whitened", "components": 5}}
    whole, first, second = (trainer(data, preset="text", texts=texts) for _ in range(3))
    curve = run(whole, range(2))
    half = run(first, range(1))
    second.load({name: value.clone() for name, value in first.state().items()})
    assert half + run(second, range(1, 2)) == curve and curve[1]["loss"] < curve[0]["loss"]
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


# What each loss has to reach in so many epochs. Chance is sum(1 / log2(rank + 1), rank 1..10) / 48 = .095; knowing the
# user's two groups of 8 gives sum(1 / log2(rank + 1), rank 1..10) / 16 = .284. The less confident a binary loss is
# made, the longer it takes.
@pytest.mark.parametrize(
    ("loss", "negatives", "lr", "epochs", "ndcg"),
    [
        ("softmax", 1, 1e-2, 12, 0.33),
        ("sampled", 16, 1e-2, 12, 0.33),
        ("in-batch", 1, 1e-2, 12, 0.33),
        ("bce", 1, 1e-2, 30, 0.3),
        ("gbce", 1, 5e-3, 20, 0.17),
    ],
)
def test_every_loss_learns(data, loss, negatives, lr, epochs, ndcg):
    job = trainer(data, loss=loss, negatives=negatives, lr=lr, dropout=0.1, seed=8)
    run(job, range(epochs))
    ranking = rank_users(job.backbone, data, schema.TEST, max_length=10, keep_seen=True, batch_size=64)
    assert mean_metric(ranking, "ndcg", 10) > ndcg


def test_a_backbone_with_times_needs_them(data):
    model = ModelSettings(backbone="hstu", width=16, max_length=10, options={"hstu": {"time": True}})
    with pytest.raises(SettingError, match=r"dataset.columns.timestamp: no times, .* time=false"):
        Trainer(
            build_backbone(model, data.num_items, 7),
            None,
            replace(data, timestamps=None),
            SETTINGS,
            max_length=10,
            execution=Execution(torch.device("cpu")),
        )


@pytest.mark.parametrize("loss", ["in-batch", "bce"])
def test_losses_that_draw_items_train_in_one_process(data, loss):
    with pytest.raises(SettingError, match=f"train.loss: {loss} does not support 2 processes"):
        Trainer(
            build_backbone(MODEL, data.num_items, 7),
            None,
            data,
            SETTINGS.model_copy(update={"loss": loss}),
            max_length=10,
            execution=Execution(torch.device("cpu"), Group(0, 2)),
        )


def test_bfloat16_products_give_nearly_the_same_curve(data):
    exact, rounded = run(trainer(data), range(3)), run(trainer(data, precision="bfloat16"), range(3))
    assert exact != rounded
    assert [line["loss"] for line in rounded] == pytest.approx([line["loss"] for line in exact], rel=0.01)


@pytest.mark.slow
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


def test_early_stopping():
    standing = Progress()
    for value in (0.1, 0.3, 0.3, 0.2):
        standing = standing.after(value)
    assert standing == Progress(epochs=4, best=0.3, best_epoch=2)  # an equal value is no improvement
    assert standing.finished(epochs=9, patience=2) and not standing.finished(epochs=9, patience=3)
    assert standing.finished(epochs=4, patience=9)


@pytest.mark.parametrize(
    ("item_init", "loss"),
    [("text", "softmax"), *(("text_residual", loss) for loss in ("softmax", "sampled", "in-batch", "gbce", "bce"))],
)
def test_text_in_the_items_and_soft_labels_train_with_any_loss(data, item_init, loss):
    supervision = read_supervision(*tables(data), data)
    smoothing = {"item": 0.2, "user": 0.1, "interest": 0.1}
    heads = HeadSettings(preset="plain", item_init=item_init, smoothing=smoothing)
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
                execution=Execution(torch.device("cpu"), block_rows=64),
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
