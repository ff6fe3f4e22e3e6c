"""ComiRec-DR against its algorithm written out."""

import math

import pytest
import torch

from eimf.backbones.comirec_dr import ComiRecDR

K, D, T = 3, 6, 9


def model(per_place: bool) -> ComiRecDR:
    torch.manual_seed(0)
    backbone = ComiRecDR(num_items=40, width=D, max_length=T, dropout=0.3, interests=K, per_place=per_place).eval()
    with torch.no_grad():
        backbone.item_table.weight.mul_(40)  # so that the rounds change the weights
    return backbone


@pytest.mark.parametrize("per_place", [True, False])
def test_every_prefix_equals_the_algorithm(per_place):
    backbone = model(per_place)
    items = torch.randint(1, 41, (2, T), generator=torch.Generator().manual_seed(1))
    interests = backbone(items)
    for row in range(2):
        for end in range(1, T + 1):
            votes = torch.zeros(K, end, D)
            for s in range(end):
                e = math.sqrt(D) * backbone.item_table.weight[items[row, s]]
                for k in range(K):
                    votes[k, s] = e @ backbone.transform[s if per_place else 0][:, k * D : (k + 1) * D]  # W_sk e
            b = torch.zeros(K, end)
            for _ in range(3):
                z = torch.einsum("ks,ksd->kd", torch.softmax(b, dim=0), votes)
                square = (z**2).sum(dim=1, keepdim=True)
                v = square / (1 + square) * z / square.sqrt()
                b = b + torch.einsum("kd,ksd->ks", v, votes)
            torch.testing.assert_close(interests[row, end - 1], math.sqrt(D) * v, rtol=1e-4, atol=1e-5)


def test_one_matrix_an_interest_does_not_see_the_order():
    items, turned = torch.tensor([[4, 9, 2, 7]]), torch.tensor([[7, 2, 9, 4]])
    lengths = torch.tensor([4])
    for per_place, same in ((False, True), (True, False)):
        backbone = model(per_place)
        before, after = backbone.interests(items, lengths), backbone.interests(turned, lengths)
        assert torch.allclose(before, after, atol=1e-5) == same
