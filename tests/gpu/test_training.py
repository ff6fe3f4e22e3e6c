"""A GPU trains what a CPU trains: the same curves up to float rounding, from the same seed and without dropout.

Float32 here is float32: torch leaves TF32 off for matrix products. Rounding differs in the last bits, and AdamW, which
divides by the size of the gradient, lets it grow from step to step.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from eimf.backbones.build import build_backbone
from eimf.backbones.registry import BACKBONES
from eimf.config import HeadSettings, ModelSettings, TrainSettings
from eimf.data.histories import Histories
from eimf.semantics.build import build_side_information
from eimf.semantics.supervision import read_supervision
from eimf.train.execution import Execution
from eimf.train.loop import Trainer
from tests.gpu.device import CPU, GPU, DrawnOnCpu
from tests.train.test_loop import Stopped, run, same, tables

PRESETS = ("plain", "init", "text", "paper", "modern")
DRAWING = ("sampled", "in-batch", "gbce", "bce")
"""Losses that draw items."""
APART = {"sine": 0.2}
"""How far curves may be apart if not by 2e-3: SINE takes the K nearest of many concepts, and rounding decides between
two that are as near. On one CPU, weights that differ by 1e-7 at the start take its curves apart by .05 too (SASRec's by
1e-7); the gradients of a step agree as those of all others."""
TIMED = {"hstu": {"time": True}}

Losses = list[dict[str, float]]


def trainer(
    data: Histories,
    device: torch.device,
    backbone: str = "sasrec",
    preset: str = "plain",
    *,
    dropout: float = 0.0,
    rows: int = 0,
    compiled: bool = False,
    **changes: object,
) -> Trainer:
    """On `device`; HSTU with times, and REMI without its hard negatives where the loss takes none."""
    options = {**TIMED, "remi": {"hardness": 0.0}} if changes.get("loss") in ("gbce", "bce") else TIMED
    model = ModelSettings(backbone=backbone, width=16, max_length=10, dropout=dropout, options=options)
    settings = HeadSettings(preset=preset)  # type: ignore[arg-type]
    train = TrainSettings(lr=5e-3, batch_positions=128, negatives=64, seed=7).model_copy(update=changes)
    net, semantics = build_backbone(model, data.num_items, 7), None
    if not settings.plain:
        semantics = build_side_information(net, read_supervision(*tables(data), data), data, settings, 7)
    execution = Execution(device, block_rows=rows, compiled=compiled)
    return Trainer(net, semantics, data, train, max_length=10, execution=execution)


def furthest(curve: Losses, other: Losses) -> float:
    """Largest relative difference of two curves; of a part below a tenth of the loss, relative to that tenth."""
    assert [line.keys() for line in curve] == [line.keys() for line in other]
    return max(
        abs(line[name] - twin[name]) / max(abs(line[name]), abs(twin[name]), 0.1 * line["loss"])
        for line, twin in zip(curve, other, strict=True)
        for name in line
    )


def stopped_after(job: Trainer, steps: int) -> dict[str, torch.Tensor]:
    """The state of a training after so many steps of its first epoch."""
    state: dict[str, torch.Tensor] = {}

    def on_progress(_: int) -> None:
        if job.steps_done == steps:
            state.update({name: value.clone() for name, value in job.state().items()})
            raise Stopped

    with pytest.raises(Stopped):
        job.epoch(0, on_progress)
    return state


def both(record_property: Callable[[str, object], None], data: Histories, *choice: str, **changes: object) -> float:
    """How far the curves of three epochs on GPU and CPU are apart."""
    with DrawnOnCpu():
        curves = [run(trainer(data, device, *choice, **changes), range(3)) for device in (CPU, GPU)]
    assert curves[0][-1]["loss"] < curves[0][0]["loss"]
    apart = furthest(*curves)
    record_property("apart", apart)
    return apart


def gradients(data: Histories, device: torch.device, *choice: str, **changes: object) -> dict[str, torch.Tensor]:
    """Of the first step."""
    job = trainer(data, device, *choice, **changes)
    with DrawnOnCpu():
        stopped_after(job, 1)
    gradients = {name: each.grad for name, each in job.backbone.named_parameters() if each.grad is not None}
    return {name: (each.to_dense() if each.is_sparse else each).cpu() for name, each in gradients.items()}


def check_gradients(*parts: dict[str, torch.Tensor]) -> None:
    here, there = parts
    assert here.keys() == there.keys()
    whole = torch.stack([each.norm() for each in here.values()]).norm()
    for name, each in here.items():
        assert (there[name] - each).norm() <= 1e-4 * each.norm() + 1e-6 * whole, name


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_gradients_of_a_step_are_those_of_a_cpu(data, backbone, preset):
    check_gradients(*(gradients(data, device, backbone, preset) for device in (CPU, GPU)))


@pytest.mark.parametrize("loss", DRAWING)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_gradients_of_a_drawn_loss_are_those_of_a_cpu(data, backbone, loss):
    check_gradients(*(gradients(data, device, backbone, "modern", loss=loss) for device in (CPU, GPU)))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_and_preset_trains_as_on_a_cpu(data, record_property, backbone, preset):
    assert both(record_property, data, backbone, preset) < APART.get(backbone, 2e-3)


@pytest.mark.parametrize("loss", DRAWING)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_and_loss_trains_as_on_a_cpu(data, record_property, backbone, loss):
    assert both(record_property, data, backbone, "plain", loss=loss) < APART.get(backbone, 2e-3)


@pytest.mark.parametrize("preset", PRESETS[1:])
@pytest.mark.parametrize("loss", DRAWING)
def test_every_loss_and_preset_trains_as_on_a_cpu(data, record_property, loss, preset):
    assert both(record_property, data, "comirec-sa", preset, loss=loss) < 2e-3


def test_the_rows_of_a_block_do_not_change_the_curve(data):
    few, whole = (run(trainer(data, GPU, "sasrec", "modern", rows=rows), range(3)) for rows in (32, 0))
    assert furthest(few, whole) < 2e-3


@pytest.mark.parametrize("preset", ["plain", "paper", "modern"])
@pytest.mark.parametrize("devices", [(CPU, GPU), (GPU, CPU), (GPU, GPU)], ids=lambda pair: f"{pair[0]}-{pair[1]}")
def test_a_training_begun_on_one_device_resumes_on_the_other(data, devices, preset):
    whole = run(trainer(data, CPU, "sasrec", preset), range(3))
    first, second = (trainer(data, device, "sasrec", preset) for device in devices)
    second.load(stopped_after(first, 4))
    assert furthest(run(second, range(3)), whole) < 2e-3


def test_a_lazy_table_resumes_on_the_other_device(data):
    whole = run(trainer(data, CPU, loss="sampled"), range(3))
    for devices in ((CPU, GPU), (GPU, CPU)):
        first, second = (trainer(data, device, loss="sampled") for device in devices)
        second.load(stopped_after(first, 4))
        assert furthest(run(second, range(3)), whole) < 2e-3


REPEATED = [
    *((name, "modern", "softmax") for name in BACKBONES),
    *(("sasrec", preset, "softmax") for preset in PRESETS[:-1]),
    *(("comirec-sa", preset, loss) for preset in ("plain", "modern") for loss in DRAWING),
]


@pytest.mark.parametrize(("backbone", "preset", "loss"), REPEATED)
def test_a_deterministic_gpu_repeats_itself_and_resumes_bit_for_bit(deterministic, data, backbone, preset, loss):
    whole, again, first, second = (trainer(data, GPU, backbone, preset, dropout=0.3, loss=loss) for _ in range(4))
    curve = run(whole, range(2))
    assert run(again, range(2)) == curve and same(whole, again)
    torch.manual_seed(99)  # whatever the outer random state is
    second.load(stopped_after(first, 4))
    assert run(second, range(2)) == curve and same(whole, second)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_bfloat16_gives_nearly_the_same_curve(data, record_property, backbone):
    with DrawnOnCpu():
        exact, rounded = (
            run(trainer(data, GPU, backbone, "modern", precision=precision), range(3))
            for precision in ("float32", "bfloat16")
        )
    record_property("apart", furthest(exact, rounded))
    assert exact != rounded
    assert [line["loss"] for line in rounded] == pytest.approx([line["loss"] for line in exact], rel=0.03)


def test_dropout_draws_alike_in_every_run_and_leaves_the_outer_state_alone(data):
    torch.manual_seed(5)
    wanted = torch.rand(3, device=GPU)
    torch.manual_seed(5)
    first, second = (run(trainer(data, GPU, dropout=0.3), range(2)) for _ in range(2))
    assert furthest(first, second) < 2e-3
    assert torch.equal(torch.rand(3, device=GPU), wanted)


def test_what_is_saved_of_a_gpu_loads_into_a_plain_backbone_of_a_cpu(data):
    job = trainer(data, GPU, "comirec-sa", "text")
    run(job, range(1))
    state = {name: value.cpu() for name, value in job.backbone.serving_state_dict().items()}
    plain = build_backbone(
        ModelSettings(backbone="comirec-sa", width=16, max_length=10, dropout=0.0), data.num_items, 1
    )
    plain.load_state_dict(state)
    assert np.array_equal(plain.item_vectors.detach().numpy(), job.backbone.item_vectors.detach().cpu().numpy())


def test_attention_is_not_planned_again_for_each_shape_and_float32_is_not_rounded():
    assert not torch.backends.cuda.cudnn_sdp_enabled()  # 5 ms of the host for every new shape
    assert not torch.backends.cudnn.allow_tf32  # the recurrent networks'
