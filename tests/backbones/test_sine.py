"""SINE against its equations written out."""

import math

import pytest
import torch

from eimf.backbones import sine
from eimf.backbones.sine import SINE
from tests.backbones.test_backbones import trained
from tests.backbones.world_interests import separated

K, L, D, T = 3, 7, 6, 9


def model(**options) -> SINE:
    torch.manual_seed(0)
    sine_model = SINE(num_items=40, width=D, max_length=T, dropout=0.3, interests=K, concepts=L, **options).eval()
    with torch.no_grad():
        sine_model.item_table.weight.mul_(20)
        sine_model.position.mul_(20)
    return sine_model


def drawn() -> torch.Tensor:
    return torch.randint(1, 41, (4, T), generator=torch.Generator().manual_seed(1))


def by_hand(m: SINE, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The interests phi [K, D] and their mix v [D] after one history [n]."""
    x = math.sqrt(D) * m.item_table.weight[items]
    placed = x + m.position[: len(items)]
    a = torch.softmax(torch.tanh(placed @ m.to_summary.weight.T) @ m.summary_weight, dim=0)
    s = m.concepts @ (a @ x)
    top = s.argsort(descending=True)[:K]
    c = torch.sigmoid(s[top]).unsqueeze(1) * m.concepts[top]
    logits = m.norm_item(x @ m.to_intention.weight.T) @ m.norm_concept(c).T  # [n, K]
    by_concept = torch.softmax(logits, dim=1)  # P_{k|t}
    phi = torch.zeros(K, D)
    for k in range(K):
        hidden = torch.tanh(placed @ m.to_hidden.weight[k * D : (k + 1) * D].T)
        by_place = torch.softmax(hidden @ m.hidden_weight[k], dim=0)  # P_{t|k}
        phi[k] = (by_concept[:, k] * by_place) @ x
    phi = m.norm_interest(phi)
    y = by_concept @ c
    attention = torch.softmax(torch.tanh(y @ m.to_intention.weight.T) @ m.intention_weight, dim=0)
    intention = m.norm_intention(attention @ y)
    return phi, torch.softmax(phi @ intention / m.temperature, dim=0) @ phi


def test_every_prefix_equals_the_equations():
    items, mixed = drawn(), model(temperature=2.0)
    several = model(aggregate=False)
    for name in ("norm_intention.weight", "norm_intention.bias", "intention_weight"):
        assert name not in several.state_dict()
    for row in range(len(items)):
        for end in range(1, T + 1):
            phi, v = by_hand(mixed, items[row, :end])
            torch.testing.assert_close(mixed(items)[row, end - 1, 0], v, rtol=1e-4, atol=1e-5)
            several.load_state_dict(mixed.state_dict(), strict=False)
            torch.testing.assert_close(several(items)[row, end - 1], phi, rtol=1e-4, atol=1e-5)


def test_chunks_of_a_batch_give_the_same_interests_and_gradients(monkeypatch):
    items, gradients, interests = drawn(), [], []
    for elements in (2**24, 2 * T * T * K):
        monkeypatch.setattr(sine, "_ELEMENTS", elements)
        backbone = model()
        interests.append(backbone(items))
        (interests[-1] ** 3).sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in backbone.parameters()]))
    torch.testing.assert_close(interests[0], interests[1])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_regulariser_is_the_squared_covariance_of_different_prototypes():
    backbone = model()
    covariance = torch.cov(backbone.concepts, correction=0)  # [L, L], over D
    wanted = sum(covariance[i, j] ** 2 for i in range(L) for j in range(L) if i < j)
    penalty = backbone.forward_train(drawn(), drawn()).penalty
    assert penalty.shape == (4, T)
    torch.testing.assert_close(penalty, (sine.COVARIANCE * wanted).expand(4, T))


def test_scores_of_the_chosen_concepts_carry_gradients():
    # The prototype norm takes the scale out of a concept, but not out of Y, so the summary must learn by the sigmoid.
    backbone = model()
    backbone(drawn()).square()[:, :, 0, 0].sum().backward()
    assert backbone.to_summary.weight.grad.abs().sum() > 0


def test_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="raise concepts"):
        SINE(num_items=5, width=4, max_length=5, dropout=0.0, interests=4, concepts=3)
    with pytest.raises(ValueError, match="small number"):
        SINE(num_items=5, width=4, max_length=5, dropout=0.0, temperature=0.0)


def test_tells_planted_interests_apart():
    trainer, _ = trained("sine", 10, users=120, aggregate=False)
    assert separated(trainer, 120) > 0.9
