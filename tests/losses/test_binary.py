import math

import pytest
import torch

from eimf.losses.binary import binary_cross_entropy, gbce_power
from eimf.losses.soft_labels import SoftLabels, SoftLabelVectors


def test_the_power_is_one_without_calibration_and_the_sampled_share_with_all_of_it():
    # gSASRec: a = 4 / 9 for 4 samples of 9 negatives, beta = a (t (1 - 1 / a) + 1 / a).
    assert gbce_power(0.0, 4, 10) == pytest.approx(1)
    assert gbce_power(0.75, 4, 10) == pytest.approx((4 / 9) * (0.75 * (1 - 9 / 4) + 9 / 4))
    assert gbce_power(1.0, 4, 10) == pytest.approx(4 / 9)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("power", [1.0, 7 / 12])
def test_gbce_equals_its_formula_row_by_row(power, soft):
    generator = torch.Generator().manual_seed(0)
    hidden, table = torch.randn(3, 5, generator=generator), torch.randn(10, 5, generator=generator)
    target_row, sampled, weight = torch.tensor([0, 3, 9]), torch.tensor([1, 3, 3, 6]), torch.tensor([0.5, 0.2, 0.3])
    others, shares = torch.tensor([[2, 2], [0, 9], [9, 5]]), torch.tensor([[0.1, 0.1], [0.0, 0.3], [0.2, 0.05]])
    label = SoftLabelVectors(SoftLabels(others, shares), table[others]) if soft else None
    wanted = 0.0
    for row in range(3):

        def chance(item_row: int, row: int = row) -> float:
            return 1 / (1 + math.exp(-float(hidden[row] @ table[item_row])))

        target = int(target_row[row])
        positive = -math.log(chance(target))
        if soft:
            positive *= 1 - float(shares[row].sum())
            pairs = zip(others[row].tolist(), shares[row].tolist(), strict=True)
            positive -= sum(share * math.log(chance(other)) for other, share in pairs)
        negatives = [-math.log(1 - chance(int(j))) for j in sampled if int(j) != target]
        wanted += float(weight[row]) * (power * positive + sum(negatives)) / (1 + len(negatives))
    loss = binary_cross_entropy(
        hidden, table[target_row], table[sampled], target_row, sampled, weight, power=power, soft=label
    )
    assert float(loss) == pytest.approx(wanted, rel=1e-5)
