"""Item biases: the same inner product with one more coordinate, for every backbone and every loss."""

import pytest
import torch

from eimf.backbones.base import Backbone
from eimf.backbones.biased import Biased
from eimf.backbones.build import build_backbone, model_configuration
from eimf.backbones.registry import BACKBONES
from eimf.choice.calibrated import Calibrated
from eimf.config import ModelSettings

ITEMS, WIDTH = 30, 16


def pair(name: str) -> tuple[Backbone, Backbone]:
    """A backbone and the same with biases 0, 1, 2, ... / 10 of its items, both with weights that matter."""
    settings = ModelSettings(backbone=name, width=WIDTH, max_length=8, dropout=0.0)
    models = []
    for item_bias in ("none", "learned"):
        model = build_backbone(settings.model_copy(update={"item_bias": item_bias}), ITEMS, seed=1)
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                parameter.mul_(1 if "norm" in parameter_name else 10)
        models.append(model.eval())
    with torch.no_grad():
        models[1].item_table.weight[1:, WIDTH] = torch.arange(ITEMS) / 10
    return models[0], models[1]


@pytest.mark.parametrize("name", list(BACKBONES))
def test_a_bias_is_added_to_the_score_of_every_interest(name):
    plain, biased = pair(name)
    items, lengths = torch.tensor([[4, 9, 2], [7, 0, 0]]), torch.tensor([3, 1])
    outputs = []
    for model in (plain, biased):
        torch.manual_seed(3)  # BERT4Rec draws what it masks
        with torch.no_grad():
            interests = (
                model(items),
                model.interests(items, lengths),
                model.inference_fn(10**6)(items, lengths, None),
                model.forward_train(items, items).interests,
            )
        outputs.append([one @ model.item_vectors.T for one in interests])
    for scores, wanted in zip(outputs[1], outputs[0], strict=True):
        torch.testing.assert_close(scores, wanted + torch.arange(ITEMS) / 10, rtol=1e-4, atol=1e-4)
    assert biased.base_width == plain.base_width == WIDTH


def test_a_bias_reaches_no_layer_and_its_gradient_is_that_of_a_score():
    _, biased = pair("sasrec")
    items = torch.tensor([[4, 9, 2]])
    (biased(items)[0, -1, 0] @ biased.vectors_of(torch.tensor([6]))[0]).backward()
    wanted = torch.zeros(ITEMS + 1)
    wanted[7] = 1
    assert torch.equal(biased.item_table.weight.grad[:, WIDTH], wanted)


def test_what_is_saved_is_read_again_and_can_be_calibrated():
    _, biased = pair("sasrec")
    again = build_backbone(ModelSettings(width=WIDTH, max_length=8, item_bias="lifecycle"), ITEMS, seed=2).eval()
    again.load_state_dict(biased.serving_state_dict())
    items, lengths = torch.tensor([[4, 9, 2]]), torch.tensor([3])
    with torch.no_grad():
        wanted = biased.interests(items, lengths) @ biased.item_vectors.T
        assert torch.equal(again.interests(items, lengths) @ again.item_vectors.T, wanted)
        further = torch.arange(float(ITEMS))
        calibrated = Calibrated(again, torch.zeros(ITEMS, 2), further, torch.zeros(2, 2), torch.zeros(2, 2)).eval()
        scores = calibrated.interests(items, lengths) @ calibrated.item_vectors.T
    torch.testing.assert_close(scores, wanted + further)


def test_the_key_of_a_model_without_biases_does_not_know_of_them():
    assert "item_bias" not in model_configuration(ModelSettings())
    assert model_configuration(ModelSettings(item_bias="learned"))["item_bias"] == "learned"
    assert isinstance(build_backbone(ModelSettings(item_bias="learned"), 3, 0), Biased)
