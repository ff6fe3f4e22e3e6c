import torch
from torch import Tensor

from eimf.backbones.layers.chunked import in_chunks
from eimf.backbones.layers.plain import plain_layers


def test_chunks_are_the_batch_at_once_and_the_gradient_is_the_same():
    x = torch.linspace(-2, 2, 35).view(7, 5).requires_grad_()
    sizes = []

    def cubes(batch: Tensor, scale: float) -> Tensor:
        sizes.append(len(batch))
        return scale * batch**3

    with plain_layers():
        plain = in_chunks(cubes, 3, x, 2.0)
    assert sizes == [7]
    chunked = in_chunks(cubes, 3, x, 2.0)
    assert sizes == [7, 3, 3, 1]
    assert torch.equal(chunked, plain)
    both = [torch.autograd.grad(y.sum(), x)[0] for y in (chunked, plain)]
    assert torch.equal(both[0], both[1])
    assert sizes == [7, 3, 3, 1, 3, 3, 1] or sorted(sizes[4:]) == [1, 3, 3]  # each is computed again on the way back
