import math

import pytest
import torch

from eimf.losses.binary import binary_cross_entropy
from eimf.losses.soft_labels import SoftLabels, SoftLabelVectors


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("calibration", [0.0, 0.75, 1.0])
def test_gbce_equals_its_formula_row_by_row(calibration, soft):
    # gSASRec: a = C / (N - 1) = 4 / 9; beta = a (t (1 - 1 / a) + 1 / a): 1 at t = 0, a at t = 1.
    generator = torch.Generator().manual_seed(0)
    hidden, table = torch.randn(3, 5, generator=generator), torch.randn(10, 5, generator=generator)
    target, items, weight = torch.tensor([1, 4, 10]), torch.tensor([2, 4, 4, 7]), torch.tensor([0.5, 0.2, 0.3])
    beta = (4 / 9) * (calibration * (1 - 9 / 4) + 9 / 4)
    others, shares = torch.tensor([[2, 2], [0, 9], [9, 5]]), torch.tensor([[0.1, 0.1], [0.0, 0.3], [0.2, 0.05]])
    named = SoftLabelVectors(SoftLabels(others, shares), table[others]) if soft else None
    wanted = 0.0
    for row in range(3):

        def chance(item: int, row: int = row) -> float:
            return 1 / (1 + math.exp(-float(hidden[row] @ table[item - 1])))

        own = int(target[row])
        positive = -math.log(chance(own))
        if soft:
            positive *= 1 - float(shares[row].sum())
            label = zip(others[row].tolist(), shares[row].tolist(), strict=True)
            positive -= sum(share * math.log(chance(item + 1)) for item, share in label)
        terms = [beta * positive, *(-math.log(1 - chance(int(j))) for j in items if int(j) != own)]
        wanted += float(weight[row]) * sum(terms) / len(terms)
    found = binary_cross_entropy(
        hidden,
        table[target - 1],
        table[items - 1],
        target,
        items,
        weight,
        calibration=calibration,
        catalogue=10,
        soft=named,
    )
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    assert (beta == pytest.approx(1)) == (calibration == 0) and (beta == pytest.approx(4 / 9)) == (calibration == 1)
