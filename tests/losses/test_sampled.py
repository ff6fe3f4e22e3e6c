import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from eimf.losses.sampled import POWER, Sample, Sampler, sampled_cross_entropy
from eimf.losses.soft_labels import SoftLabels, SoftLabelVectors

ROWS, ITEMS, WIDTH = 11, 7, 5


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    table = torch.randn(ITEMS, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    return hidden, table, torch.randint(1, ITEMS + 1, (ROWS,), generator=generator), torch.rand(ROWS).double()


def test_every_item_drawn_once_is_the_full_softmax_with_both_gradients():
    hidden, table, target, weight = tensors()
    everything = Sample(torch.arange(1, ITEMS + 1), torch.zeros(ITEMS))  # n q_j = 1
    plain = (weight * F.cross_entropy(hidden @ table.T, target - 1, reduction="none")).sum()
    ours = sampled_cross_entropy(hidden, table[target - 1], table, target, everything, weight)
    torch.testing.assert_close(ours, plain)
    wanted, found = (torch.autograd.grad(loss, (hidden, table)) for loss in (plain, ours))
    torch.testing.assert_close(found, wanted)


def soft_labels(table: torch.Tensor, target: torch.Tensor) -> SoftLabelVectors:
    """Three other items a row, one of which comes twice, and one may be the target."""
    generator = torch.Generator().manual_seed(4)
    items = torch.randint(0, ITEMS, (ROWS, 3), generator=generator)
    items[:, 1], items[:4, 2] = items[:, 0], target[:4] - 1
    return SoftLabelVectors(SoftLabels(items, torch.rand(ROWS, 3, generator=generator).double() * 0.2), table[items])


@pytest.mark.parametrize("drawn", [[1, 2, 3, 4, 5, 6, 7], [7, 3, 5, 3], [2]])
def test_soft_labels_are_cross_entropy_over_their_items_and_the_drawn_ones(drawn):
    # Each item of a row's label once, as it is, and drawn ones that are not among them by 1 / (n q_j) = 1.
    hidden, table, target, weight = tensors()
    soft = soft_labels(table, target)
    sample = Sample(torch.tensor(drawn), torch.zeros(len(drawn)))
    wanted = hidden.new_zeros(())
    for row in range(ROWS):
        scores = table @ hidden[row]
        named = {int(target[row]) - 1, *soft.labels.items[row].tolist()}
        mass = [scores[item] for item in named] + [scores[item - 1] for item in drawn if item - 1 not in named]
        share = soft.labels.shares[row]
        label = (1 - share.sum()) * scores[target[row] - 1] + (share * scores[soft.labels.items[row]]).sum()
        wanted = wanted + weight[row] * (torch.stack(mass).logsumexp(dim=0) - label)
    found = sampled_cross_entropy(hidden, table[target - 1], table[sample.items - 1], target, sample, weight, soft=soft)
    torch.testing.assert_close(found, wanted)
    both = [torch.autograd.grad(loss, (hidden, table), retain_graph=True) for loss in (found, wanted)]
    torch.testing.assert_close(both[0], both[1])


def test_the_estimated_mass_is_unbiased_whatever_the_frequencies():
    hidden, table, target, _ = (each.detach() for each in tensors())
    sampler = Sampler(np.array([0, 1, 50, 3, 3, 900, 10]), 4, torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    own = table[target - 1]
    masses = []
    for _ in range(20_000):
        sample = sampler.draw(generator)
        each = [sampled_cross_entropy(hidden[:1], own[:1], table[sample.items - 1], target[:1], sample, torch.ones(1))]
        masses.append(float(torch.stack(each).exp() * (hidden[0] * own[0]).sum().exp()))
    wanted = float((hidden[0] @ table.T).exp().sum())
    error = np.std(masses) / len(masses) ** 0.5
    assert abs(np.mean(masses) - wanted) < 4 * error


def test_items_are_drawn_by_the_power_of_their_frequency():
    sampler = Sampler(np.array([0, 15, 80]), 60_000, torch.device("cpu"))
    sample = sampler.draw(torch.Generator().manual_seed(2))
    share = np.array([1, 16, 81]) ** POWER  # frequency + 1 to the power 3/4: 1, 8, 27
    share = share / share.sum()
    assert np.allclose(share, np.array([1, 8, 27]) / 36)
    found = np.bincount(sample.items.numpy(), minlength=4)[1:] / 60_000
    assert np.all(np.abs(found - share) < 4 * np.sqrt(share / 60_000))
    for item in (1, 2, 3):
        expected = float(sample.log_expected[sample.items == item][0])
        assert math.isclose(expected, math.log(60_000 * share[item - 1]), rel_tol=1e-6)


def test_hard_negatives_of_a_sample_of_everything():
    # The target beside the others, of which each weighs by softmax(beta s) over the others, times their number.
    hidden, table, target, weight = tensors()
    everything = Sample(torch.arange(1, ITEMS + 1), torch.zeros(ITEMS))
    scores = hidden @ table.T
    others = scores.masked_fill(torch.arange(1, ITEMS + 1) == target.unsqueeze(1), -torch.inf)
    mass = (ITEMS - 1) * ((2 * others).softmax(dim=1) * scores.exp()).sum(dim=1)
    own = scores[torch.arange(ROWS), target - 1]
    wanted = (weight * ((own.exp() + mass).log() - own)).sum()
    found = sampled_cross_entropy(hidden, table[target - 1], table, target, everything, weight, 2.0)
    torch.testing.assert_close(found, wanted)


def test_a_sample_of_nothing_but_the_target_says_nothing():
    hidden, table, _, _ = tensors()
    target = torch.full((ROWS,), 3)
    for hardness in (0.0, 1.0):
        sample = Sample(torch.tensor([3, 3]), torch.zeros(2))
        loss = sampled_cross_entropy(
            hidden, table[target - 1], table[[2, 2]], target, sample, torch.ones(ROWS), hardness
        )
        assert loss == 0
        assert all(not grad.any() for grad in torch.autograd.grad(loss, (hidden, table)))


def test_the_targets_of_a_batch_count_as_drawn_by_their_frequency():
    sampler = Sampler(np.array([9, 0, 29]), 5, torch.device("cpu"), power=1.0)  # shares 10, 1, 30 of 41
    sample = sampler.of(torch.tensor([3, 3, 1, 2]))
    wanted = torch.tensor([4 * 30 / 41, 4 * 30 / 41, 4 * 10 / 41, 4 * 1 / 41]).log()
    torch.testing.assert_close(sample.log_expected, wanted)
