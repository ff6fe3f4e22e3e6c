"""runtime.compile on a GPU, which takes a minute a backbone: by itself."""

import pytest

from eimf.backbones.registry import BACKBONES
from tests.gpu.device import GPU
from tests.gpu.test_training import APART, furthest, trainer
from tests.train.test_loop import run


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, within its compiler
@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name != "bert4rec"])  # which hides other items
def test_compiled_and_eager_agree(data, record_property, backbone):
    eager, compiled = (trainer(data, GPU, backbone, "text", compiled=value) for value in (False, True))
    apart = furthest(run(eager, range(2)), run(compiled, range(2)))
    record_property("apart", apart)
    assert apart < APART.get(backbone, 5e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_bfloat16_learns(data):
    curve = run(trainer(data, GPU, "sasrec", "modern", compiled=True, precision="bfloat16"), range(3))
    assert curve[-1]["loss"] < curve[0]["loss"]
