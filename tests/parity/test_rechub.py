"""Multi-interest backbones beside torch-rechub 0.9: its weights copied into ours, the same interests to 1e-4.

torch-rechub's user tower goes on from the interests: it puts a user feature beside each, multiplies by a matrix and
normalises. Here that feature is 0 and the matrix the identity, so that its tower gives the interests at length 1.
Both pad at the end. Ours multiplies items by sqrt(D) first, so the matrices that read them are divided by it.

    python -m pytest tests/parity/test_rechub.py     in an environment with torch-rechub
"""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

pytest.importorskip("torch_rechub")
from torch_rechub.basic import layers
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models import matching
from torch_rechub.models.matching.mind import dynamic_interest_mask

from eimf.backbones.comirec_dr import ComiRecDR
from eimf.backbones.comirec_sa import ComiRecSA
from eimf.backbones.mind import MIND
from eimf.backbones.sine import SINE

N, D, T, K = 40, 8, 12, 4
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
LENGTHS = torch.tensor([12, 1, 5, 9, 3, 12])


def histories() -> Tensor:
    items = torch.randint(1, N + 1, (len(LENGTHS), T), generator=torch.Generator().manual_seed(0))
    return items * (torch.arange(T) < LENGTHS.unsqueeze(1))


def draw(parameters) -> None:
    """Weights large enough that every part matters."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.randn(parameter.shape, generator=generator))


def rechub(model: type[nn.Module], **options) -> nn.Module:
    """One of its three models with user, history and item features, with weights drawn."""
    user = [SparseFeature("user", 2, D)]
    item = [SparseFeature("item", N + 1, D)]
    history, negative = (
        [SequenceFeature(name, N + 1, D, pooling="concat", shared_with="item")] for name in ("history", "negative")
    )
    theirs = model(user, history, item, negative, interest_num=K, **options).eval()
    draw(theirs.parameters())
    with torch.no_grad():
        theirs.embedding.embed_dict["user"].weight.zero_()
        theirs.embedding.embed_dict["item"].weight[0].zero_()
        theirs.convert_user_weight.copy_(torch.cat([torch.zeros(D, D), torch.eye(D)]))
    theirs.mode = "user"
    return theirs


def interests_of(theirs: nn.Module, items: Tensor) -> Tensor:
    with torch.no_grad():
        return theirs({"user": torch.zeros(len(items), dtype=torch.long), "history": items})


def copy(into: nn.Module, **weights: Tensor) -> None:
    parameters = dict(into.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name.replace("__", ".")].copy_(weight)


@pytest.fixture
def over_interests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its routing has the softmax over the places (and over padding, which it then takes out). MIND's and ComiRec's
    algorithms, and ComiRec's published code, have it over the interests: put there."""
    corrected = SimpleNamespace(softmax=lambda logits, dim: F.softmax(logits, dim=1))
    monkeypatch.setattr(layers, "F", corrected)


def mind_pair(monkeypatch: pytest.MonkeyPatch) -> tuple[nn.Module, MIND]:
    """MIND with ComiRec's one ReLU layer (no bias). Our H-layers become its map: relu(v) - relu(-v) = v."""
    theirs = rechub(matching.MIND, max_length=T)
    theirs.capsule.relu_layer = True
    ours = MIND(num_items=N, width=D, max_length=T, dropout=0.0, interests=K, hidden=2 * D, adaptive=False).eval()
    relu, both = theirs.capsule.relu[0].weight, torch.cat([torch.eye(D), -torch.eye(D)])
    copy(
        ours,
        item_table__weight=theirs.embedding.embed_dict["item"].weight,
        to_vote__weight=theirs.capsule.linear.weight / math.sqrt(D),
        expand__weight=both,
        expand__bias=torch.zeros(2 * D),
        contract__weight=relu @ both.T,
        contract__bias=torch.zeros(D),
    )
    # It draws the first logits in each call: here it draws ours.
    logits = ours.first_logits
    monkeypatch.setattr(torch, "randn", lambda batch, *shape, **_: logits.expand(batch, *shape))
    return theirs, ours


def dr_pair() -> tuple[nn.Module, ComiRecDR]:
    theirs = rechub(matching.ComirecDR, max_length=T)
    ours = ComiRecDR(num_items=N, width=D, max_length=T, dropout=0.0, interests=K, per_place=True).eval()
    copy(
        ours,
        item_table__weight=theirs.embedding.embed_dict["item"].weight,
        transform=theirs.capsule.w[0].mT / math.sqrt(D),
    )
    return theirs, ours


def assert_same_directions(ours: nn.Module, theirs: nn.Module, relu: bool = False) -> None:
    """Theirs have length 1; `relu`: and one more ReLU at the end."""
    wanted = interests_of(theirs, histories())
    together = ours(histories())[torch.arange(len(LENGTHS)), LENGTHS - 1]
    for interests in (ours.interests(histories(), LENGTHS), together):
        torch.testing.assert_close(F.normalize(torch.relu(interests) if relu else interests, dim=-1), wanted, **CLOSE)


def test_mind(over_interests, monkeypatch):
    theirs, ours = mind_pair(monkeypatch)
    assert_same_directions(ours, theirs, relu=True)


def test_comirec_dr(over_interests):
    theirs, ours = dr_pair()
    assert_same_directions(ours, theirs)


def test_comirec_dr_lengths(over_interests):
    # Before its tower normalises: the capsules themselves.
    theirs, ours = dr_pair()
    items = histories()
    capsules = theirs.capsule(theirs.embedding.embed_dict["item"](items), (items > 0).long())
    torch.testing.assert_close(ours.interests(items, LENGTHS) / math.sqrt(D), capsules, **CLOSE)


def test_its_softmax_over_places_is_another_routing():
    # Should this fail, torch-rechub has corrected it, and `over_interests` can go.
    theirs, ours = dr_pair()
    apart = F.normalize(ours.interests(histories(), LENGTHS), dim=-1) - interests_of(theirs, histories())
    assert apart.abs().max() > 0.1


def test_mind_has_as_many_interests_by_length():
    counts = torch.arange(1, 40)
    mask = (torch.arange(40) < counts.unsqueeze(1)).long()
    ours = MIND(num_items=N, width=D, max_length=40, dropout=0.0, interests=K)
    assert torch.equal(ours._active(counts.unsqueeze(1)).squeeze(2), dynamic_interest_mask(mask, K))


def test_comirec_sa():
    theirs = rechub(matching.ComirecSA)
    ours = ComiRecSA(num_items=N, width=D, max_length=T, dropout=0.0, interests=K, hidden=4 * D).eval()
    copy(
        ours,
        item_table__weight=theirs.embedding.embed_dict["item"].weight,
        to_hidden__weight=theirs.multi_interest_sa.W1.mT,
        to_weight__weight=theirs.multi_interest_sa.W2.mT,
        position=torch.zeros(T, D),  # it has none
    )
    assert_same_directions(ours, theirs)


class Normal(nn.Module):
    """x over its p-norm."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, p=self.p, dim=-1)


def test_sine():
    """Ours with torch-rechub's norms in place of the four layer norms: length 1 for items and concepts, none for the
    interests, and for the intention what its F.normalize(c, -1) does: the norm with p = -1, over the width. Its one
    hidden layer of the weighting is given to every interest of ours, its own matrix for the intention is set to W3,
    and positions are 0, since it adds them to what is weighted too."""
    torch.manual_seed(0)
    theirs = matching.SINE(["history"], ["item"], ["negative"], N + 1, D, D, 9, K, T, temperature=0.7).eval()
    draw(theirs.parameters())
    with torch.no_grad():
        theirs.item_embedding.weight[0].zero_()
        theirs.position_embedding.weight.zero_()
        theirs.w_4.copy_(theirs.w_3)
    ours = SINE(num_items=N, width=D, max_length=T, dropout=0.0, interests=K, concepts=9, temperature=0.7).eval()
    ours.norm_item, ours.norm_concept, ours.norm_interest = Normal(2), Normal(2), nn.Identity()
    ours.norm_intention = Normal(-1)
    ours.scale = 1.0
    copy(
        ours,
        item_table__weight=theirs.item_embedding.weight,
        position=torch.zeros(T, D),
        concepts=theirs.concept_embedding.weight,
        to_summary__weight=theirs.w_1.mT,
        summary_weight=theirs.w_2.squeeze(1),
        to_intention__weight=theirs.w_3.mT,
        to_hidden__weight=theirs.w_k1.mT.repeat(K, 1),
        hidden_weight=theirs.w_k2.mT,
        intention_weight=theirs.w_5.squeeze(1),
    )
    theirs.mode = "user"
    # Its user tower alone: `forward` looks up items as well.
    wanted = theirs.user_tower({"history": histories()})
    torch.testing.assert_close(ours.interests(histories(), LENGTHS).squeeze(1), wanted, **CLOSE)
    together = ours(histories())[torch.arange(len(LENGTHS)), LENGTHS - 1].squeeze(1)
    torch.testing.assert_close(together, wanted, **CLOSE)
