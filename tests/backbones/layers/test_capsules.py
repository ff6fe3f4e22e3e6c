"""Routing over all prefixes at once, plain and fast, against the algorithm prefix by prefix and item by item."""

import contextlib

import pytest
import torch

from eimf.backbones.layers.capsules import route, route_prefixes, squash
from eimf.backbones.layers.plain import plain_layers

B, T, K, D, ROUNDS = 3, 7, 4, 5, 3


def drawn(groups: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Votes [B, G, T, D] large enough that the rounds differ, and first logits [1, K, 1, T]."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(B, groups, T, D, generator=generator), torch.randn(1, K, 1, T, generator=generator)


def by_hand(votes: torch.Tensor, first: torch.Tensor, end: int) -> torch.Tensor:
    """MIND, algorithm 1, for items 0..end - 1 of one history: votes [K, T, D], first [K, T] to interests [K, D]."""
    b = {(k, s): float(first[k, s]) for k in range(K) for s in range(end)}
    v = torch.zeros(K, D)
    for _ in range(ROUNDS):
        w = {}
        for s in range(end):
            shares = torch.softmax(torch.tensor([b[k, s] for k in range(K)]), dim=0)
            w |= {(k, s): float(shares[k]) for k in range(K)}
        for k in range(K):
            z = sum((w[k, s] * votes[k, s] for s in range(end)), torch.zeros(D))
            square = float(z @ z)
            v[k] = square / (1 + square) * z / square**0.5
        for k, s in b:
            b[k, s] += float(v[k] @ votes[k, s])
    return v


@pytest.mark.parametrize("layers", [plain_layers, contextlib.nullcontext])
@pytest.mark.parametrize("groups", [1, K])
def test_every_prefix_is_routed_on_its_own(groups, layers):
    votes, first = drawn(groups)
    with layers():
        together = route_prefixes(votes, first, ROUNDS)
    for row in range(B):
        for end in range(1, T + 1):
            wanted = by_hand(votes[row].expand(K, -1, -1), first[0, :, 0], end)
            torch.testing.assert_close(together[row, :, end - 1], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("groups", [1, K])
def test_chunks_of_a_batch_give_the_same_interests_and_gradients(groups):
    votes, first = drawn(groups)
    whole, chunked = votes.clone().requires_grad_(), votes.clone().requires_grad_()
    weight = torch.randn(B, K, T, D, generator=torch.Generator().manual_seed(1))
    both = route_prefixes(whole, first, ROUNDS), route_prefixes(chunked, first, ROUNDS, elements=2 * K * T * T)
    torch.testing.assert_close(both[0], both[1])
    for interests in both:
        (interests * weight).sum().backward()
    torch.testing.assert_close(whole.grad, chunked.grad)


@pytest.mark.parametrize("groups", [1, K])
def test_fast_routing_is_the_plain_one_with_its_gradient(groups):
    votes, first = drawn(groups)
    votes.requires_grad_()
    weight = torch.randn(B, K, T, D, generator=torch.Generator().manual_seed(1))
    last = (torch.arange(T) < torch.tensor([T, 1, 4]).view(B, 1, 1, 1)).float()  # one prefix of each history
    everywhere, at_last, gradients = [], [], []
    for layers in (plain_layers, contextlib.nullcontext):
        with layers():
            everywhere.append(route_prefixes(votes, first, ROUNDS))
            at_last.append(route(votes, first, last, ROUNDS))
        gradients.append(torch.autograd.grad((everywhere[-1] * weight).sum() + at_last[-1].sum(), votes)[0])
    for plain, fast in (everywhere, at_last, gradients):
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-6)


def test_gradients_take_the_last_weights_as_constants():
    # One item, one interest of two: v = squash(w u) with w fixed. With |w u| = n along the first axis,
    # d|v|/du = w d(n^2 / (1 + n^2))/dn = w 2 n / (1 + n^2)^2.
    votes = torch.tensor([3.0, 0.0]).view(1, 1, 1, 2).requires_grad_()
    first = torch.tensor([0.7, 0.2]).view(1, 2, 1, 1)
    route_prefixes(votes, first, rounds=1)[0, 0, 0, 0].backward()
    w = float(torch.softmax(first[0, :, 0, 0], dim=0)[0])
    n = 3 * w
    torch.testing.assert_close(votes.grad[0, 0, 0, 0], torch.tensor(w * 2 * n / (1 + n**2) ** 2))


def test_squash_of_nothing_is_nothing_and_its_gradient_is_finite():
    z = torch.zeros(2, D, requires_grad=True)
    squash(z).sum().backward()
    assert not squash(z).any() and bool(torch.isfinite(z.grad).all())


def test_squash_keeps_the_direction():
    # |(3, 4)| = 5, so the length becomes 25 / 26 and the vector (3, 4) * 5 / 26.
    torch.testing.assert_close(squash(torch.tensor([3.0, 4.0])), torch.tensor([15 / 26, 20 / 26]))
