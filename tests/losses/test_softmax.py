import pytest
import torch
from torch.nn import functional as F

from eimf.losses import softmax
from eimf.losses.hard_softmax import hard_cross_entropy
from eimf.losses.logit_blocks import MatmulOptions
from eimf.losses.soft_labels import SoftLabels, SoftLabelVectors
from eimf.losses.softmax import cross_entropy, soft_cross_entropy, weighted_logsumexp


def tensors(rows: int = 37, items: int = 53, width: int = 8):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=generator, dtype=torch.float64, requires_grad=True)
    table = torch.randn(items, width, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(items, (rows,), generator=generator)
    weight = torch.rand(rows, generator=generator, dtype=torch.float64)
    return hidden, table, target, weight


@pytest.mark.parametrize("rows", [1, 5, 37, 1000])
def test_blocked_equals_plain_with_both_gradients(rows):
    hidden, table, target, weight = tensors()
    plain = (weight * F.cross_entropy(hidden @ table.T, target, reduction="none")).sum()
    plain_grads = torch.autograd.grad(3 * plain, (hidden, table))
    blocked = cross_entropy(hidden, table, target, weight, MatmulOptions(rows))
    torch.testing.assert_close(blocked, plain)
    torch.testing.assert_close(torch.autograd.grad(3 * blocked, (hidden, table)), plain_grads)


def test_gradients_by_finite_differences():
    hidden, table, target, weight = tensors(4, 6, 3)
    assert torch.autograd.gradcheck(lambda h, t: cross_entropy(h, t, target, weight, MatmulOptions(3)), (hidden, table))
    assert torch.autograd.gradcheck(lambda h, t: weighted_logsumexp(h, t, weight, MatmulOptions(3)), (hidden, table))


def test_large_logits_do_not_overflow():
    hidden, table = torch.full((2, 1), 1e4), torch.tensor([[1.0], [0.0]])
    loss = cross_entropy(hidden, table, torch.tensor([0, 1]), torch.ones(2), MatmulOptions(8))
    assert loss == 1e4  # -log softmax([1e4, 0]) is [0, 1e4]


def test_without_gradients_the_loss_is_the_same():
    hidden, table, target, weight = tensors()
    with torch.no_grad():
        without = cross_entropy(hidden, table, target, weight, MatmulOptions(8))
    assert not without.requires_grad
    torch.testing.assert_close(without, cross_entropy(hidden, table, target, weight, MatmulOptions(8)).detach())


def test_hard_negatives_weight_every_item_by_its_importance():
    # normalizer = N sum_j w_j exp(s_j), w = softmax(beta s): written out.
    generator = torch.Generator().manual_seed(3)
    hidden, table = (torch.randn(*shape, generator=generator, requires_grad=True) for shape in ((5, 4), (9, 4)))
    target, weight = torch.tensor([0, 8, 3, 3, 1]), torch.tensor([0.1, 0.2, 0.0, 0.4, 0.3])
    for hardness in (0.0, 0.5, 2.0):
        scores = hidden @ table.T
        normalizer = 9 * ((hardness * scores).softmax(dim=1) * scores.exp()).sum(dim=1)
        wanted = (weight * (normalizer.log() - scores[torch.arange(5), target])).sum()
        loss = hard_cross_entropy(hidden, table, target, weight, hardness, MatmulOptions(2))
        torch.testing.assert_close(loss, wanted)
        both = [torch.autograd.grad(value, (hidden, table)) for value in (loss, wanted)]
        torch.testing.assert_close(both[0], both[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 30.0])  # in the second one the largest logit must be subtracted
def test_soft_labels_equal_a_dense_label_with_both_gradients(scale):
    hidden, table, target, weight = tensors()
    hidden = (hidden * scale).detach().requires_grad_()
    generator = torch.Generator().manual_seed(5)
    rows = torch.stack([(row + 1 + torch.randperm(52, generator=generator)[:4]) % 53 for row in target])
    rows[:9, 1], rows[:5, 2] = rows[:9, 0], target[:5]  # an item twice; the target itself
    shares = torch.rand(37, 4, generator=generator, dtype=torch.float64) * 0.1
    label = F.one_hot(target, 53) * (1 - shares.sum(dim=1, keepdim=True))
    label = label.scatter_add(1, rows, shares)
    scores = hidden @ table.T
    wanted = -(weight.unsqueeze(1) * label * scores.log_softmax(dim=1)).sum()
    loss, added = soft_cross_entropy(hidden, table, target, weight, SoftLabels(rows, shares), MatmulOptions(8))
    torch.testing.assert_close(loss, wanted)
    plain = cross_entropy(hidden, table, target, weight, MatmulOptions(8))
    torch.testing.assert_close(loss - plain, added)
    both = [torch.autograd.grad(value, (hidden, table)) for value in (loss, wanted)]
    torch.testing.assert_close(both[0], both[1])
    # Hard negatives in the limit of hardness 0 are the same loss.
    vectors = SoftLabelVectors(SoftLabels(rows, shares), table[rows])
    hard = hard_cross_entropy(hidden, table, target, weight, 1e-12, MatmulOptions(8), vectors)
    torch.testing.assert_close(hard, wanted)


@pytest.mark.parametrize("bf16", [False, True])
def test_all_logits_at_once_are_the_blocks(bf16):
    torch.manual_seed(0)
    hidden, table = torch.randn(37, 8), torch.randn(100, 8)
    target, weight, rows = torch.randint(100, (37,)), torch.rand(37), torch.randint(100, (37, 3))
    for soft in (None, SoftLabels(rows, torch.rand(37, 3) / 4)):
        results = []
        for compute in (softmax._in_blocks, softmax._at_once):
            h, t = hidden.clone().requires_grad_(), table.clone().requires_grad_()
            loss, added = compute(h, t, weight, target, soft, MatmulOptions(16, bf16))
            loss.backward()
            results.append((loss.detach(), added, h.grad, t.grad))
        for blocked, at_once in zip(*results, strict=True):
            assert float((at_once - blocked).norm() / blocked.norm().clamp(min=1e-9)) < (0.02 if bf16 else 1e-5)
