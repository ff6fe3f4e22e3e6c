"""Every backbone with plain layers: the same model as with fast ones. tests/export traces them."""

import torch
from torch import Tensor

from eimf.backbones.layers.plain import plain_layers
from tests.backbones.test_backbones import backbone, histories

__all__ = ["backbone"]  # the fixture: every backbone, with weights large enough that every part matters


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Length of the difference, relative to the length of `theirs`."""
    return float(((ours - theirs).norm() / theirs.norm()).detach())


def direction(x: Tensor) -> Tensor:
    """Random numbers to multiply interests with: normed ones have a norm whose gradient is 0."""
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(5))


def test_plain_and_fast_layers_give_the_same_interests(backbone):
    items, lengths = histories()
    with plain_layers():
        plain = backbone(items), backbone.interests(items, lengths)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            fast = backbone(items), backbone.interests(items, lengths)
        for ours, theirs in zip(fast, plain, strict=True):
            assert distance(ours, theirs) < 1e-5


def test_plain_and_fast_layers_give_the_same_gradients(backbone):
    items, lengths = histories(batch=12)
    gradients = []
    for plain in (True, False):
        with plain_layers() if plain else torch.enable_grad():
            everywhere, last = backbone(items), backbone.interests(items, lengths)
        loss = (everywhere * direction(everywhere)).sum() + (last * direction(last)).sum()
        gradients.append(torch.autograd.grad(loss, list(backbone.parameters())))
    total = torch.stack([gradient.norm() for gradient in gradients[0]]).norm()
    for (name, _), theirs, ours in zip(backbone.named_parameters(), *gradients, strict=True):
        assert (ours - theirs).norm() < 1e-4 * theirs.norm() + 1e-6 * total, name  # some gradients are 0
