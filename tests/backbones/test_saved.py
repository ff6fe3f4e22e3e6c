"""What is saved, loaded and exported is the same model, for every backbone."""

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from eimf.backbones.base import Backbone
from eimf.backbones.build import build_backbone
from eimf.backbones.registry import BACKBONES
from eimf.semantics.item_text import add_text_residual, whiten
from tests.backbones.test_backbones import ITEMS, histories, small


class Serving(nn.Module):
    """What a server needs of a backbone: histories in, interests out."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        return self.backbone.interests(items, lengths)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_saved_loaded_and_exported_agree(name):
    trained, fresh = (build_backbone(small(name), ITEMS, seed=seed).eval() for seed in (1, 2))
    text = torch.randn(ITEMS, 7, generator=torch.Generator().manual_seed(0))
    add_text_residual(trained, whiten(text, 5), scale=0.5)  # what is saved has no text, however it was trained
    fresh.load_state_dict(load(save({key: value.contiguous() for key, value in trained.serving_state_dict().items()})))
    items, lengths = histories()
    wanted = trained.interests(items, lengths)
    assert torch.equal(fresh.interests(items, lengths), wanted)
    assert torch.equal(fresh.item_vectors, trained.item_vectors)

    shapes = {"items": {0: torch.export.Dim("batch")}, "lengths": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(Serving(fresh), (items, lengths), dynamic_shapes=shapes).module()
    torch.testing.assert_close(exported(items, lengths), wanted)
    torch.testing.assert_close(exported(items[:2], lengths[:2]), wanted[:2], rtol=1e-4, atol=1e-5)
