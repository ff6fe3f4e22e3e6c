"""Every backbone with plain layers: the same model as with fast ones, and one that an export can trace."""

import torch
from torch import Tensor, nn

from eimf.backbones.base import Backbone
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


class Serving(nn.Module):
    """What a server needs of a backbone: histories in, interests out."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        return self.backbone.interests(items, lengths)


def in_place_or_custom(graph: torch.fx.Graph) -> list[str]:
    """Names of operators that write into an argument, and of those that are not torch's."""
    targets = [node.target for node in graph.nodes if node.op == "call_function"]
    schemas = [target._schema for target in targets if isinstance(target, torch._ops.OpOverload)]
    mutating = [schema.name for schema in schemas if schema.is_mutable]
    return mutating + [schema.name for schema in schemas if schema.name.split("::")[0] != "aten"]


def test_an_export_traces_plain_layers(backbone):
    items, lengths = histories()
    batch = torch.export.Dim("batch")
    with plain_layers():
        wanted = backbone.interests(items, lengths)
        shapes = {"items": {0: batch}, "lengths": {0: batch}}
        exported = torch.export.export(Serving(backbone), (items, lengths), dynamic_shapes=shapes)
    assert not in_place_or_custom(exported.graph)
    torch.testing.assert_close(exported.module()(items, lengths), wanted)
    torch.testing.assert_close(exported.module()(items[:2], lengths[:2]), wanted[:2], rtol=1e-4, atol=1e-5)
