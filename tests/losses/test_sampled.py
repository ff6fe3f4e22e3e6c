import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from eimf.losses.base import Sample
from eimf.losses.sampled import POWER, Sampler, sampled_cross_entropy
from eimf.losses.soft_labels import SoftLabels, SoftLabelVectors

ROWS, ITEMS, WIDTH = 11, 7, 5
EVERY_ITEM = Sample(torch.arange(ITEMS), torch.zeros(ITEMS))
"""Each item once: n q_j = 1."""


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    table = torch.randn(ITEMS, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    return hidden, table, torch.randint(ITEMS, (ROWS,), generator=generator), torch.rand(ROWS).double()


def test_every_item_sampled_once_is_the_full_softmax_with_both_gradients():
    hidden, table, target_row, weight = tensors()
    plain = (weight * F.cross_entropy(hidden @ table.T, target_row, reduction="none")).sum()
    sampled = sampled_cross_entropy(hidden, table[target_row], table, target_row, EVERY_ITEM, weight)
    torch.testing.assert_close(sampled, plain)
    both = [torch.autograd.grad(loss, (hidden, table)) for loss in (sampled, plain)]
    torch.testing.assert_close(both[0], both[1])


def soft_labels(table: torch.Tensor, target_row: torch.Tensor) -> SoftLabelVectors:
    """Three other items a row; one of them occurs twice, and one may be the target."""
    generator = torch.Generator().manual_seed(4)
    rows = torch.randint(0, ITEMS, (ROWS, 3), generator=generator)
    rows[:, 1], rows[:4, 2] = rows[:, 0], target_row[:4]
    return SoftLabelVectors(SoftLabels(rows, torch.rand(ROWS, 3, generator=generator).double() * 0.2), table[rows])


@pytest.mark.parametrize("sampled", [[0, 1, 2, 3, 4, 5, 6], [6, 2, 4, 2], [1]])
def test_soft_labels_are_cross_entropy_over_their_items_and_the_sampled_ones(sampled):
    # In the normalizer: each item of a row's label once, uncorrected, and sampled items that are not among them by
    # 1 / (n q_j) = 1.
    hidden, table, target_row, weight = tensors()
    soft = soft_labels(table, target_row)
    sample = Sample(torch.tensor(sampled), torch.zeros(len(sampled)))
    wanted = hidden.new_zeros(())
    for row in range(ROWS):
        scores = table @ hidden[row]
        label_rows = {int(target_row[row]), *soft.labels.rows[row].tolist()}
        terms = [scores[item] for item in label_rows] + [scores[item] for item in sampled if item not in label_rows]
        share = soft.labels.shares[row]
        label = (1 - share.sum()) * scores[target_row[row]] + (share * scores[soft.labels.rows[row]]).sum()
        wanted = wanted + weight[row] * (torch.stack(terms).logsumexp(dim=0) - label)
    loss = sampled_cross_entropy(hidden, table[target_row], table[sample.rows], target_row, sample, weight, soft=soft)
    torch.testing.assert_close(loss, wanted)
    both = [torch.autograd.grad(value, (hidden, table), retain_graph=True) for value in (loss, wanted)]
    torch.testing.assert_close(both[0], both[1])


def test_the_estimated_normalizer_is_unbiased_whatever_the_frequencies():
    hidden, table, target_row, _ = (tensor.detach() for tensor in tensors())
    sampler = Sampler(np.array([0, 1, 50, 3, 3, 900, 10]), 4, torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    positive = table[target_row]
    normalizers = []
    for _ in range(5000):
        sample = sampler.draw(generator)
        loss = sampled_cross_entropy(
            hidden[:1], positive[:1], table[sample.rows], target_row[:1], sample, torch.ones(1)
        )
        normalizers.append(float(loss.exp() * (hidden[0] * positive[0]).sum().exp()))
    wanted = float((hidden[0] @ table.T).exp().sum())
    error = np.std(normalizers) / len(normalizers) ** 0.5
    assert abs(np.mean(normalizers) - wanted) < 4 * error


def test_items_are_sampled_by_the_power_of_their_frequency():
    sampler = Sampler(np.array([0, 15, 80]), 60_000, torch.device("cpu"))
    sample = sampler.draw(torch.Generator().manual_seed(2))
    share = np.array([1, 16, 81]) ** POWER  # frequency + 1 to the power 3/4: 1, 8, 27
    share = share / share.sum()
    assert np.allclose(share, np.array([1, 8, 27]) / 36)
    observed = np.bincount(sample.rows.numpy(), minlength=3) / 60_000
    assert np.all(np.abs(observed - share) < 4 * np.sqrt(share / 60_000))
    for row in range(3):
        expected = float(sample.log_expected[sample.rows == row][0])
        assert math.isclose(expected, math.log(60_000 * share[row]), rel_tol=1e-6)


def test_hard_negatives_of_a_sample_of_everything():
    # The target and the others, each of which weighs softmax(beta s) over the others, times their number.
    hidden, table, target_row, weight = tensors()
    scores = hidden @ table.T
    others = scores.masked_fill(torch.arange(ITEMS) == target_row.unsqueeze(1), -torch.inf)
    normalizer = (ITEMS - 1) * ((2 * others).softmax(dim=1) * scores.exp()).sum(dim=1)
    positive = scores[torch.arange(ROWS), target_row]
    wanted = (weight * ((positive.exp() + normalizer).log() - positive)).sum()
    loss = sampled_cross_entropy(hidden, table[target_row], table, target_row, EVERY_ITEM, weight, 2.0)
    torch.testing.assert_close(loss, wanted)


def test_a_sample_of_nothing_but_the_target_gives_no_loss_and_no_gradient():
    hidden, table, _, _ = tensors()
    target_row = torch.full((ROWS,), 2)
    for hardness in (0.0, 1.0):
        sample = Sample(torch.tensor([2, 2]), torch.zeros(2))
        loss = sampled_cross_entropy(
            hidden, table[target_row], table[sample.rows], target_row, sample, torch.ones(ROWS), hardness
        )
        assert loss == 0
        assert all(not grad.any() for grad in torch.autograd.grad(loss, (hidden, table)))


def test_the_targets_of_a_batch_count_as_sampled_by_their_frequency():
    sampler = Sampler(np.array([9, 0, 29]), 5, torch.device("cpu"), power=1.0)  # shares 10, 1, 30 of 41
    sample = sampler.as_sample(torch.tensor([2, 2, 0, 1]))
    wanted = torch.tensor([4 * 30 / 41, 4 * 30 / 41, 4 * 10 / 41, 4 * 1 / 41]).log()
    torch.testing.assert_close(sample.log_expected, wanted)
