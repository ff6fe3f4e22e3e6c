"""Attention, linear maps and blocks: the fast layers give what the plain ones give."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eimf.backbones.layers.attention import attention
from eimf.backbones.layers.linear import add_linear, gelu, linear
from eimf.backbones.layers.plain import plain_layers
from eimf.backbones.layers.qkv_table import qkv_table
from eimf.backbones.layers.transformer import Block

B, T, H, D = 3, 5, 2, 8
MASKS = {
    "causal": None,
    "mask": torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] * 4 + [False]])[:, None, None],
}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("attn_mask", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("layers", [plain_layers, contextlib.nullcontext])
def test_attention_equals_a_loop(layers, attn_mask):
    qkv = 2 * random(3, B, H, T, D // H)
    with layers():
        attended = attention(qkv, attn_mask=attn_mask)
    assert attended.shape == (B, T, H, D // H)
    for row, head, t in np.ndindex(B, H, T):
        visible = torch.arange(T) <= t if attn_mask is None else attn_mask[row, 0, 0]
        query, key, value = qkv[0, row, head, t], qkv[1, row, head, visible], qkv[2, row, head, visible]
        weight = torch.softmax(key @ query / np.sqrt(D // H), dim=0)
        torch.testing.assert_close(attended[row, t, head], weight @ value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attn_mask", MASKS.values(), ids=MASKS.keys())
def test_fast_attention_is_the_plain_one_with_its_gradient(attn_mask):
    qkv = random(3, B, H, T, D // H).requires_grad_()
    grad = random(B, T, H, D // H, seed=1)
    with plain_layers():
        plain = attention(qkv, attn_mask=attn_mask)
    fast = attention(qkv, attn_mask=attn_mask)
    with torch.no_grad():
        without_gradient = attention(qkv, attn_mask=attn_mask)
    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(without_gradient, plain.detach())
    both = [torch.autograd.grad(attended, qkv, grad)[0] for attended in (fast, plain)]
    torch.testing.assert_close(both[0], both[1])


def test_attention_with_the_smallest_dropout_is_attention_without():
    qkv = random(3, B, H, T, D // H)
    # Below 1/512 nothing is dropped.
    torch.testing.assert_close(attention(qkv, 1e-4), attention(qkv, 0.0))


@torch.no_grad()
def test_fast_linear_maps_and_gelu_without_a_gradient_are_the_plain_ones():
    layer, x, residual = nn.Linear(D, 6), random(B, T, D), random(B, T, 6, seed=1)
    results = []
    for layers in (plain_layers, contextlib.nullcontext):
        with layers():
            results.append((linear(layer, x), add_linear(residual, layer, x), gelu(x.clone())))
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain)
    assert torch.equal(residual, random(B, T, 6, seed=1))  # the fast one does not write over it


def test_with_a_gradient_linear_maps_and_gelu_have_one_implementation():
    layer, x = nn.Linear(D, D), random(B, T, D).requires_grad_()
    results = []
    for layers in (plain_layers, contextlib.nullcontext):
        with layers():
            y = gelu(add_linear(x, layer, linear(layer, x)))
        results.append((y, *torch.autograd.grad(y.sum(), (x, *layer.parameters()))))
    assert all(torch.equal(plain, fast) for plain, fast in zip(*results, strict=True))


def plain_block(block: Block, x: torch.Tensor, visible: torch.Tensor | None) -> torch.Tensor:
    """What `block` gives for x [T, D] of one sequence, without dropout, position by position and head by head: each
    position attends to itself and to earlier ones, or, with `visible` [T] bool, to those."""
    query, key, value = block.to_qkv(block.norm_attention(x)).view(T, 3, H, D // H).unbind(1)
    mixed = torch.zeros(T, H, D // H)
    for t, head in np.ndindex(T, H):
        others = torch.arange(T) <= t if visible is None else visible
        weight = torch.softmax(key[others, head] @ query[t, head] / np.sqrt(D // H), dim=0)
        mixed[t, head] = weight @ value[others, head]
    x = x + block.to_out(mixed.flatten(1))
    return x + block.contract(F.gelu(block.expand(block.norm_feed_forward(x))))


@pytest.mark.parametrize("attn_mask", MASKS.values(), ids=MASKS.keys())
def test_a_block_equals_a_loop_with_and_without_a_gradient(attn_mask):
    torch.manual_seed(0)
    block, x = Block(width=D, heads=H, feed_forward=12, dropout=0.5).eval(), random(B, T, D)
    with torch.no_grad():
        for parameter in block.parameters():  # so that every part matters
            parameter.add_(torch.randn(parameter.shape))
        visible = [None] * B if attn_mask is None else attn_mask[:, 0, 0]
        wanted = torch.stack([plain_block(block, row, mask) for row, mask in zip(x, visible, strict=True)])
        torch.testing.assert_close(block(x, attn_mask), wanted, rtol=1e-4, atol=1e-5)
    for layers in (plain_layers, contextlib.nullcontext):
        with layers():
            torch.testing.assert_close(block(x, attn_mask), wanted, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_block_at_one_position_and_by_the_table_is_the_block():
    torch.manual_seed(0)
    block = Block(width=D, heads=H, feed_forward=12, dropout=0.5).eval()
    item_table, position = random(10, D), random(7, D, seed=1)
    nn.init.normal_(block.norm_attention.weight)
    nn.init.normal_(block.norm_attention.bias)
    items = torch.randint(0, 10, (B, T), generator=torch.Generator().manual_seed(2))
    x = 1.5 * item_table[items] + position[:T]
    for layers in (plain_layers, contextlib.nullcontext):
        with layers():
            everywhere = block(x)
            index = torch.tensor([4, 0, 2])
            torch.testing.assert_close(block.at(x, index), everywhere[torch.arange(B), index], rtol=1e-4, atol=1e-5)
            qkv = qkv_table(block, item_table, position, 1.5)(items)
            torch.testing.assert_close(block.from_qkv(x, qkv), everywhere, rtol=1e-4, atol=1e-5)
