"""SINE beside RecBole 1.2.1's: its weights copied into ours, the same vector to 1e-4.

RecBole reads the paper with three norms of another kind: items and interests have length 1 where ours have a layer
norm; those of ours are replaced. It has no positions, and attends to padding: only full histories can be compared.
Its concepts come in rising order of score, ours in falling.

    python -m pytest tests/parity/test_sine_recbole.py     in an environment with RecBole
"""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

pytest.importorskip("recbole")
from recbole.model.sequential_recommender.sine import SINE as Theirs

from eimf.backbones.sine import SINE

torch.autograd.set_detect_anomaly(False)  # its module turns it on for whoever imports it

N, D, T, K, L = 40, 8, 12, 4, 9
SETTINGS = {
    "USER_ID_FIELD": "user",
    "ITEM_ID_FIELD": "item",
    "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "length",
    "NEG_PREFIX": "neg_",
    "MAX_ITEM_LIST_LENGTH": T,
    "device": "cpu",
    "embedding_size": D,
    "loss_type": "CE",
    "layer_norm_eps": 1e-5,
    "prototype_size": L,
    "interest_size": K,
    "tau_ratio": 0.7,
    "reg_loss_ratio": 0.1,
}


class Length1(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


@pytest.fixture
def pair() -> tuple[Theirs, SINE]:
    theirs = Theirs(SETTINGS, SimpleNamespace(user_num=2, item_num=N + 1, num=lambda field: N + 1)).eval()
    generator = torch.Generator().manual_seed(1)
    ours = SINE(num_items=N, width=D, max_length=T, dropout=0.0, interests=K, concepts=L, temperature=0.7).eval()
    ours.norm_item, ours.norm_interest, ours.scale = Length1(), Length1(), 1.0
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        for into, weight in (
            (ours.item_table.weight, theirs.item_embedding.weight),
            (ours.position, torch.zeros(T, D)),
            (ours.concepts, theirs.C.weight),
            (ours.to_summary.weight, theirs.w1.mT),
            (ours.summary_weight, theirs.w2),
            (ours.to_intention.weight, theirs.w3.mT),
            (ours.to_hidden.weight, theirs.w_k_1.flip(0).mT.flatten(0, 1)),
            (ours.hidden_weight, theirs.w_k_2.flip(0)),
            (ours.intention_weight, theirs.w4),
        ):
            into.copy_(weight)
        ours.norm_concept.load_state_dict(theirs.ln2.state_dict())
        ours.norm_intention.load_state_dict(theirs.ln4.state_dict())
    return theirs, ours


def test_same_vector_of_a_full_history(pair):
    theirs, ours = pair
    items = torch.randint(1, N + 1, (6, T), generator=torch.Generator().manual_seed(0))
    wanted = theirs(items, torch.full((6,), T))
    torch.testing.assert_close(ours.interests(items, torch.full((6,), T)).squeeze(1), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours(items)[:, -1, 0], wanted, rtol=1e-4, atol=1e-4)


def test_same_regulariser(pair):
    theirs, ours = pair
    torch.testing.assert_close(ours.entanglement(), theirs.calculate_reg_loss(), rtol=1e-4, atol=1e-4)
