"""MIND against its algorithm written out."""

import math

import pytest
import torch

from eimf.backbones.mind import MIND

K, D, T = 4, 8, 18


def model(**options) -> MIND:
    torch.manual_seed(0)
    return MIND(num_items=40, width=D, max_length=T, dropout=0.3, hidden=12, **options).eval()


def by_hand(mind: MIND, items: torch.Tensor, count: int) -> torch.Tensor:
    """Algorithm 1 with `count` interests over one history [n], then the H-layers: [count, D]."""
    votes = math.sqrt(D) * mind.item_table(items) @ mind.to_vote.weight.T  # [n, D]
    b = mind.first_logits[:count, : len(items)].clone()
    for _ in range(3):
        w = torch.softmax(b, dim=0)
        v = torch.stack([sum((w[k, s] * votes[s] for s in range(len(items))), torch.zeros(D)) for k in range(count)])
        square = (v**2).sum(dim=1, keepdim=True)
        v = square / (1 + square) * v / square.sqrt()
        b = b + v @ votes.T
    hidden = torch.relu(math.sqrt(D) * v @ mind.expand.weight.T + mind.expand.bias)
    return hidden @ mind.contract.weight.T + mind.contract.bias


@pytest.mark.parametrize("adaptive", [True, False])
def test_every_prefix_equals_the_algorithm(adaptive):
    mind = model(adaptive=adaptive)
    with torch.no_grad():
        mind.item_table.weight.mul_(40)  # so that the rounds change the weights
    items = torch.randint(1, 41, (2, T), generator=torch.Generator().manual_seed(1))
    interests = mind(items)
    for end in range(1, T + 1):
        count = max(1, min(K, int(math.log2(end)))) if adaptive else K
        for row in range(2):
            wanted = by_hand(mind, items[row, :end], count)
            torch.testing.assert_close(interests[row, end - 1, :count], wanted, rtol=1e-4, atol=1e-5)
            # Interests that a short prefix lacks repeat the first.
            torch.testing.assert_close(
                interests[row, end - 1, count:], interests[row, end - 1, :1].expand(K - count, -1)
            )


def test_first_logits_are_saved_and_not_trained():
    mind = model()
    assert "first_logits" in mind.state_dict() and "first_logits" not in dict(mind.named_parameters())
    assert mind.first_logits.shape == (K, T)
