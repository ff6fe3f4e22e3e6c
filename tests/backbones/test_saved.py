"""What is saved and loaded is the same model, for every backbone."""

import pytest
import torch
from safetensors.torch import load, save

from eimf.backbones.build import build_backbone
from eimf.backbones.registry import BACKBONES
from eimf.semantics.item_text import add_text_residual, whiten
from tests.backbones.test_backbones import ITEMS, histories, small


@pytest.mark.parametrize("name", list(BACKBONES))
def test_saved_and_loaded_agree(name):
    trained, fresh = (build_backbone(small(name), ITEMS, seed=seed).eval() for seed in (1, 2))
    text = torch.randn(ITEMS, 7, generator=torch.Generator().manual_seed(0))
    add_text_residual(trained, whiten(text, 5), scale=0.5)  # what is saved has no text, however it was trained
    fresh.load_state_dict(load(save({key: value.contiguous() for key, value in trained.serving_state_dict().items()})))
    items, lengths = histories()
    wanted = trained.interests(items, lengths)
    assert torch.equal(fresh.interests(items, lengths), wanted)
    assert torch.equal(fresh.item_vectors, trained.item_vectors)
