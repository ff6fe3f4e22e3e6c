import math

import numpy as np
import pytest

from eimf import schema
from eimf.evaluation.case_values import Metric
from eimf.evaluation.compare import Bootstrap, compare_ranks, corrected
from eimf.evaluation.slices import ALL, slices_of
from eimf.statistics import holm, paired_t
from tests import world as planted

HISTORIES = planted.leave_one_out(np.array([2, 1, 2, 2, 3, 3, 1, 5, 2, 4, 2, 5]), np.array([0, 3, 7, 12]), 5)
CASES = HISTORIES.cases[schema.TEST]
SLICES = slices_of(CASES, HISTORIES)
FEW, MRR = Bootstrap(samples=200), Metric("mrr", 5)
BASE = {1: np.array([1, 3, 9]), 2: np.array([3, 3, 9])}
OTHER = {1: np.array([1, 1, 3]), 2: np.array([1, 1, 9])}


def compared(base, other, names=(ALL,), metrics=(MRR,)):
    return compare_ranks(base, other, CASES, SLICES, metrics, names, FEW)


def test_every_case_counts_with_its_mean_over_seeds():
    (row,) = compared(BASE, OTHER)
    # The base has (1 + 1/3) / 3 and (1/3 + 1/3) / 3, the other (1 + 1 + 1/3) / 3 and (1 + 1) / 3.
    assert (row.cases, row.base.value, row.other.value) == (3, pytest.approx(1 / 3), pytest.approx(13 / 18))
    assert row.base.deviation == pytest.approx(abs(4 / 9 - 2 / 9) / math.sqrt(2)) and row.base.n == 2
    assert row.difference.by_seed == pytest.approx((7 / 9 - 4 / 9, 2 / 3 - 2 / 9))
    alone = paired_t([2 / 3, 1 / 3, 0], [1, 1, 1 / 6])
    assert (row.difference.error, row.difference.p) == pytest.approx((alone.error, alone.p))
    low, high = row.interval
    assert 1 / 6 <= low <= row.difference.value <= high <= 2 / 3
    assert compared(BASE, {3: OTHER[1]})[0].difference.by_seed == ()  # other seeds


def test_slices_with_fewer_than_two_users_have_no_test():
    head, repeated = compared(BASE, OTHER, ("popularity:head", "target:repeated"))
    assert head.cases == 1 and head.base.value == pytest.approx(2 / 3) and head.difference is None
    assert head.verdict == "too few users" and repeated.cases == repeated.difference.n == 2


def test_p_is_adjusted_for_all_rows_together_and_rows_without_a_test_do_not_count():
    rows = compared(BASE, OTHER, ("all", "popularity:head", "target:repeated"), (MRR, Metric("ndcg", 2)))
    tests = [row.difference.p for row in rows if row.difference]
    assert len(rows) == 6 and len(tests) == 4
    assert [row.difference.p for row in corrected(rows) if row.difference] == holm(tests)


def test_equal_ranks_are_identical_and_no_test():
    same, better = compared(BASE, BASE)[0], compared(BASE, OTHER)[0]
    assert same.verdict == "identical" and same.interval == (0, 0)
    assert corrected([same, better])[1].difference.p == better.difference.p
