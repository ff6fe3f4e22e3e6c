"""SASRec, GRU4Rec and BERT4Rec beside RecBole 1.2.1's: its weights copied into ours, the same user vectors to 1e-4.

GRU4Rec is the same network but for the biases of the GRU, which RecBole has none of: ours are 0 here. The two
transformers normalise at other places: RecBole after the residual sum of each part, and once at the input; ours before
each part, and once at the end. So each is compared twice: RecBole's parts put into our order beside our model as it is,
and RecBole's model as it is beside our parts put into its order. Ours multiplies items by sqrt(D), so what is copied
there is divided by it. Of BERT4Rec, the state is compared; RecBole's bias of each item comes after it.

    make parity
"""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

pytest.importorskip("recbole")
from tests.bench.peers import recbole_shims

recbole_shims.make_importable()
from recbole.config import Config  # noqa: E402
from recbole.utils import get_model  # noqa: E402

from eimf.backbones.bert4rec import BERT4Rec  # noqa: E402
from eimf.backbones.gru4rec import GRU4Rec  # noqa: E402
from eimf.backbones.layers.transformer import Block  # noqa: E402
from eimf.backbones.sasrec import SASRec  # noqa: E402

N, D, F_, B, T = 40, 16, 24, 32, 12
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
MASK = N + 1  # RecBole's number of the mask token
TRANSFORMER = {"hidden_size": D, "inner_size": F_, "n_heads": 4, "n_layers": 3, "layer_norm_eps": 1e-5}


def theirs_of(name: str, monkeypatch: pytest.MonkeyPatch, **settings: object) -> nn.Module:
    """RecBole's model with its own defaults; every weight large enough to matter, padding zero."""
    monkeypatch.setattr(sys, "argv", sys.argv[:1])  # RecBole reads the command line of whoever imports it
    shown = {"MAX_ITEM_LIST_LENGTH": T + 1, "loss_type": "CE", "train_neg_sample_args": None, "use_gpu": False}
    config = Config(model=name, dataset="none", config_dict={**shown, **settings})
    model = get_model(name)(config, SimpleNamespace(num=lambda field: N + 1)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.add_(1)
        model.item_embedding.weight[0] = 0
    return model


def copy(*pairs: tuple[Tensor, Tensor]) -> None:
    """Each second into its first."""
    with torch.no_grad():
        for into, weight in pairs:
            assert into.shape == weight.shape
            into.copy_(weight)


def copy_transformer(ours: SASRec | BERT4Rec, theirs: nn.Module) -> None:
    copy((ours.item_table.weight, theirs.item_embedding.weight[: N + 1] / ours.scale))
    ours.norm.load_state_dict(theirs.LayerNorm.state_dict())
    for block, layer in zip(ours.blocks, theirs.trm_encoder.layer, strict=True):
        attend, feed = layer.multi_head_attention, layer.feed_forward
        for name in ("weight", "bias"):
            parts = [getattr(part, name) for part in (attend.query, attend.key, attend.value)]
            copy((getattr(block.to_qkv, name), torch.cat(parts)))
        block.to_out.load_state_dict(attend.dense.state_dict())
        block.expand.load_state_dict(feed.dense_1.state_dict())
        block.contract.load_state_dict(feed.dense_2.state_dict())
        block.norm_attention.load_state_dict(attend.LayerNorm.state_dict())
        block.norm_feed_forward.load_state_dict(feed.LayerNorm.state_dict())


def before(theirs: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """RecBole's parts in our order: a part returns norm(f(x) + x), of which f is taken, and fed with norm(x)."""
    for layer in theirs.trm_encoder.layer:
        for part, arguments in ((layer.multi_head_attention, (mask,)), (layer.feed_forward, ())):
            norm, part.LayerNorm = part.LayerNorm, nn.Identity()
            y = norm(x)
            x = x + part(y, *arguments) - y
            part.LayerNorm = norm
    return theirs.LayerNorm(x)


def after(block: Block, x: Tensor, seen: Tensor | None = None) -> Tensor:
    """Our parts in RecBole's order."""
    x = block.norm_attention(x + block.to_out(block.attend(x, seen)))
    return block.norm_feed_forward(x + block.contract(F.gelu(block.expand(x))))


def histories() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, T + 1, (B,), generator=generator)
    lengths[0] = T
    items = torch.randint(1, N + 1, (B, T), generator=generator)
    return items * (torch.arange(T) < lengths.unsqueeze(1)), lengths


@pytest.mark.parametrize("layers", [1, 2])
def test_gru4rec(monkeypatch, layers):
    theirs = theirs_of("GRU4Rec", monkeypatch, embedding_size=D, hidden_size=F_, num_layers=layers)
    ours = GRU4Rec(num_items=N, width=D, max_length=T, dropout=0.5, layers=layers, hidden=F_).eval()
    copy((ours.item_table.weight, theirs.item_embedding.weight / ours.scale))
    for number, layer in enumerate(ours.layers):
        for name in ("weight_ih_l", "weight_hh_l"):
            copy((getattr(layer, f"{name}0"), getattr(theirs.gru_layers, f"{name}{number}")))
        for name in ("bias_ih_l0", "bias_hh_l0"):
            nn.init.zeros_(getattr(layer, name))
    ours.to_out.load_state_dict(theirs.dense.state_dict())
    items, lengths = histories()
    with torch.inference_mode():
        torch.testing.assert_close(ours.interests(items, lengths)[:, 0], theirs(items, lengths), **CLOSE)


@pytest.fixture
def sasrecs(monkeypatch) -> tuple[SASRec, nn.Module]:
    theirs = theirs_of("SASRec", monkeypatch, **TRANSFORMER)
    ours = SASRec(num_items=N, width=D, max_length=T, dropout=0.5, layers=3, heads=4, feed_forward=F_).eval()
    copy_transformer(ours, theirs)
    copy((ours.position, theirs.position_embedding.weight[:T]))
    return ours, theirs


def test_our_sasrec_is_recboles_parts_in_our_order(sasrecs):
    ours, theirs = sasrecs
    items, lengths = histories()
    with torch.inference_mode():
        x = theirs.item_embedding(items) + theirs.position_embedding.weight[:T]
        wanted = before(theirs, x, theirs.get_attention_mask(items))
        inside = items > 0
        torch.testing.assert_close(ours(items)[:, :, 0][inside], wanted[inside], **CLOSE)
        last = wanted[torch.arange(B), lengths - 1]
        torch.testing.assert_close(ours.interests(items, lengths)[:, 0], last, **CLOSE)


def test_recboles_sasrec_is_our_parts_in_its_order(sasrecs):
    ours, theirs = sasrecs
    items, lengths = histories()
    with torch.inference_mode():
        x = ours.norm(ours._embed(items))
        for block in ours.blocks:
            x = after(block, x)
        torch.testing.assert_close(x[torch.arange(B), lengths - 1], theirs(items, lengths), **CLOSE)


@pytest.fixture
def bert4recs(monkeypatch) -> tuple[BERT4Rec, nn.Module]:
    theirs = theirs_of("BERT4Rec", monkeypatch, **TRANSFORMER)
    ours = BERT4Rec(num_items=N, width=D, max_length=T, dropout=0.0, layers=3, heads=4, feed_forward=F_).eval()
    copy_transformer(ours, theirs)
    copy(
        (ours.mask_vector, theirs.item_embedding.weight[MASK] / ours.scale),
        (ours.position, theirs.position_embedding.weight / ours.scale),
    )
    ours.to_out.load_state_dict(theirs.output_ffn.state_dict())
    ours.norm_out.load_state_dict(theirs.output_ln.state_dict())
    return ours, theirs


def in_our_order(theirs: nn.Module, sequence: Tensor) -> Tensor:
    back = (sequence > 0).sum(dim=1, keepdim=True) - 1 - torch.arange(T + 1)
    x = theirs.item_embedding(sequence) + theirs.position_embedding.weight[back.clamp(min=0)]
    x = before(theirs, x, theirs.get_attention_mask(sequence, bidirectional=True))
    return theirs.output_ln(theirs.output_gelu(theirs.output_ffn(x)))


def masked(items: Tensor, lengths: Tensor) -> Tensor:
    """Histories with RecBole's mask token after each (its own ranking also cuts the first item off)."""
    sequence = F.pad(items, (0, 1))
    sequence[torch.arange(B), lengths] = MASK
    return sequence


def test_our_bert4rec_is_recboles_parts_in_our_order(bert4recs):
    ours, theirs = bert4recs
    items, lengths = histories()
    with torch.inference_mode():
        wanted = in_our_order(theirs, masked(items, lengths))[torch.arange(B), lengths]
        torch.testing.assert_close(ours.interests(items, lengths)[:, 0], wanted, **CLOSE)


def test_our_cloze_is_recboles_parts_in_our_order(bert4recs):
    ours, theirs = bert4recs
    items, lengths = histories()
    next_items = torch.where(items > 0, items.roll(5, dims=1).clamp_min(1), 0)  # whatever, but none at padding
    torch.manual_seed(2)
    with torch.inference_mode():
        output = ours.train().forward_train(items, next_items)
        sequence = torch.cat([items[:, :1], next_items.masked_fill(output.loss_mask, MASK)], dim=1)
        wanted = in_our_order(theirs, sequence)[:, 1:]
    assert B <= int(output.loss_mask.sum()) < int(lengths.sum())
    torch.testing.assert_close(output.interests[:, :, 0][output.loss_mask], wanted[output.loss_mask], **CLOSE)


def test_recboles_bert4rec_is_our_parts_in_its_order(bert4recs):
    # RecBole counts positions from the first item, so that ours are its own turned round, for each length anew.
    ours, theirs = bert4recs
    items, lengths = histories()
    places = torch.arange(T + 1)
    with torch.inference_mode():
        all_wanted = theirs(masked(items, lengths))
        for row, length in enumerate(lengths.tolist()):
            ours.position[: length + 1] = theirs.position_embedding.weight[: length + 1].flip(0) / ours.scale
            x, seen = ours._embed(F.pad(items[row : row + 1], (0, 1)), (places == length).unsqueeze(0))
            x = ours.norm(x)
            for block in ours.blocks:
                x = after(block, x, seen)
            vectors = ours.norm_out(F.gelu(ours.to_out(x)))
            torch.testing.assert_close(vectors[0, length], all_wanted[row, length], **CLOSE)
