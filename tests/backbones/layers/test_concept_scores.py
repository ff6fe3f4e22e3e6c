import pytest
import torch

from eimf.backbones.layers import concept_scores as module
from eimf.backbones.layers.concept_scores import concept_scores
from eimf.backbones.layers.plain import plain_layers

B, K, T, D = 4, 3, 9, 6


@pytest.mark.parametrize("prefixes", [1, T])
@pytest.mark.parametrize("most", [1, 3 * T * D, 2**18])
def test_fast_scores_are_the_plain_ones_with_their_gradients(monkeypatch, prefixes, most):
    monkeypatch.setattr(module, "_HIDDEN", (most, most))
    generator = torch.Generator().manual_seed(2)
    share, concepts, weight, grad = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((B, prefixes, K, T), (B, prefixes, K, D), (D,), (B, prefixes, T))
    )
    visible = torch.ones(prefixes, T, dtype=torch.float64).tril_(T - prefixes)  # a single prefix has all positions
    with plain_layers():
        plain = concept_scores(share, concepts, weight) * visible
    by_definition = torch.einsum("bpkt,bpkd->bptd", share, concepts).sigmoid() @ weight * visible
    torch.testing.assert_close(plain, by_definition)
    fast = concept_scores(share, concepts, weight) * visible
    torch.testing.assert_close(fast, plain)
    both = [torch.autograd.grad(scores, (share, concepts, weight), grad) for scores in (fast, plain)]
    torch.testing.assert_close(both[0], both[1])
