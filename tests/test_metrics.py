import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eimf.metrics import METRICS, coverage, gini, per_case
from eimf.schema import NEVER


def one(name: str, ranks: list[int], k: int) -> float:
    return float(per_case(name, torch.tensor(ranks), torch.zeros(len(ranks), dtype=torch.int64), 1, k)[0])


def test_by_hand():
    assert one("recall", [1, 7, 12], 10) == 2 / 3
    assert one("hit_rate", [11, 12], 10) == 0
    assert one("mrr", [4, 3], 10) == 1 / 3
    assert one("mrr", [4], 3) == 0
    assert one("ndcg", [3], 10) == pytest.approx(1 / math.log2(4))
    assert one("precision", [1, 7, 12], 10) == 2 / 10
    # Two hits, at the first and the second of the relevant items: 1 / 1 and 2 / 7, of three.
    assert one("map", [7, 1, 12], 10) == pytest.approx((1 + 2 / 7) / 3)


def test_ndcg_keeps_rank_and_its_ideal_is_cut_at_k_and_at_the_relevant():
    # METHOD, fault 3.
    assert one("ndcg", [1, 2], 10) == pytest.approx(1)
    assert one("ndcg", [1, 3], 10) < one("ndcg", [1, 2], 10)
    assert one("ndcg", [1, 2, 3], 2) == pytest.approx(1)  # ideal over min(2, 3) places
    assert one("ndcg", [2], 10) == pytest.approx((1 / math.log2(3)) / (1 / math.log2(2)))


def test_items_that_are_never_recommended_count_as_misses():
    assert one("recall", [1, NEVER], 10) == 1 / 2
    assert one("ndcg", [1, NEVER], 10) == pytest.approx(1 / (1 + 1 / math.log2(3)))
    assert [one(name, [NEVER, NEVER], 10_000) for name in METRICS] == [0] * len(METRICS)


def test_more_relevant_items_than_places():
    assert one("recall", [1, 2, 3], 2) == 2 / 3  # not min(2, 3) below the line
    assert one("recall", [1], 1) == one("hit_rate", [1], 1) == one("mrr", [1], 1) == one("ndcg", [1], 1) == 1


def plain(name: str, relevant: list[int], k: int) -> float:
    """From the ranked list itself."""
    listed = [place in relevant for place in range(1, k + 1)]
    if name == "recall":
        return sum(listed) / len(relevant)
    if name == "hit_rate":
        return float(any(listed))
    if name == "mrr":
        return next((1 / place for place, hit in enumerate(listed, 1) if hit), 0.0)
    if name == "precision":
        return sum(listed) / k
    if name == "map":
        return sum(sum(listed[:place]) / place for place, hit in enumerate(listed, 1) if hit) / len(relevant)
    gain = sum(hit / math.log2(place + 1) for place, hit in enumerate(listed, 1))
    return gain / sum(1 / math.log2(place + 1) for place in range(1, min(k, len(relevant)) + 1))


@settings(max_examples=40)
@given(
    st.lists(st.sets(st.integers(1, 30), min_size=1, max_size=6), min_size=1, max_size=6),
    st.integers(1, 25),
    st.randoms(),
)
def test_metrics_equal_a_loop_over_cases_with_several_relevant_items(cases, k, random):
    pairs = [(case, rank) for case, ranks in enumerate(cases) for rank in ranks]
    random.shuffle(pairs)  # in whatever order they come
    case, ranks = (torch.tensor(column) for column in zip(*pairs, strict=True))
    for name in METRICS:
        values = per_case(name, ranks, case, len(cases), k)
        assert values.tolist() == pytest.approx([plain(name, list(relevant), k) for relevant in cases])


def test_unknown_metric():
    with pytest.raises(ValueError, match="no metric 'auc'"):
        one("auc", [1], 1)


def test_coverage_and_gini():
    assert coverage(torch.tensor([3, 0, 1, 0])) == 2 / 4
    assert gini(torch.tensor([5, 5, 5, 5])) == pytest.approx(0)
    assert gini(torch.tensor([0, 0, 0, 9])) == pytest.approx(3 / 4)  # (n - 1) / n
    assert gini(torch.tensor([1, 3])) == pytest.approx(1 / 4)  # |1 - 3| / (2 * 2 * mean 2)... over both pairs: 1/4


@settings(max_examples=40)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=12))
def test_gini_is_the_mean_difference_of_any_two_over_twice_the_mean(exposure):
    assume(sum(exposure))
    differences = sum(abs(a - b) for a in exposure for b in exposure)
    wanted = differences / (2 * len(exposure) * sum(exposure))
    assert gini(torch.tensor(exposure)) == pytest.approx(wanted, abs=1e-9)
    assert coverage(torch.tensor(exposure)) == sum(count > 0 for count in exposure) / len(exposure)
