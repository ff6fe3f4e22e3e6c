import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.statistics import (
    LEVEL,
    POWER,
    Difference,
    correct,
    difference_over_seeds,
    holm,
    mean,
    paired_difference,
    paired_t,
    smallest_detectable,
)

P_VALUES = st.lists(st.floats(0, 1), max_size=7)


def test_a_paired_difference_by_hand():
    base = torch.tensor([0.0, 0.0, 1.0, 1.0])
    paired = paired_difference(base, base + torch.tensor([1.0, 1.0, 1.0, -1.0]))
    assert (paired.value, paired.n, paired.base) == (1 / 2, 4, 1 / 2)
    assert paired.error == pytest.approx(1 / 2)  # variance (3 * 1/4 + 9/4) / 3 = 1, over 4 cases
    assert paired.p == pytest.approx(math.erfc(1 / math.sqrt(2))) and not paired.significant
    assert paired.relative == 1 and paired.relative_detectable == pytest.approx(2 * smallest_detectable(1 / 2))
    same = paired_difference(base, base)
    assert same.identical and (same.value, same.error, same.p) == (0, 0, 1) and not paired.identical
    assert math.isnan(paired_difference([0, 0], [1, 0]).relative)


@pytest.mark.parametrize(
    ("base", "other", "match"),
    [
        ([1, 2, 3], [1, 2], r"the same cases in both; they have \(3,\) and \(2,\)"),
        ([[1, 2]], [[1, 2]], "the same cases"),
        ([1], [2], "two cases or more; there is 1"),
        ([1, math.nan, 3, 4], [1, 2, math.inf, 4], "finite numbers; 2 of 4 cases"),
    ],
)
def test_what_does_not_pair_is_one_error(base, other, match):
    with pytest.raises(ValueError, match=match):
        paired_difference(base, other)


@settings(max_examples=40)
@given(st.lists(st.integers(-3, 5), min_size=2, max_size=12))
def test_the_interval_excludes_no_difference_if_and_only_if_p_is_small(difference):
    paired = paired_difference([0.0] * len(difference), difference)
    low, high = paired.interval()
    assert low <= paired.value <= high
    assert paired.error == 0 or paired.significant == (low > 0 or high < 0)
    wide = paired.interval(0.99)
    assert wide[0] <= low and high <= wide[1]


def test_seeds_are_averaged_for_each_case():
    base = {1: [0.0, 1.0], 2: [1.0, 1.0], 3: [5.0, 5.0]}
    other = {1: [1.0, 2.0], 2: [3.0, 1.0], 4: [9.0, 9.0]}
    # Seeds 1 and 2: base 1/2, 1 and other 2, 3/2.
    paired = difference_over_seeds(base, other)
    assert (paired.value, paired.base, paired.n) == (1, 3 / 4, 2) and paired.by_seed == (1, 1)
    assert paired.error == pytest.approx(1 / 2)  # 3/2 and 1/2 are 1/2 from 1: variance 1/2, over 2 cases
    with pytest.raises(ValueError, match=r"a seed that both have; they have \[1, 2, 3\] and \[4\]"):
        difference_over_seeds(base, {4: other[4]})


def test_seeds_agree_if_all_have_the_sign_of_the_mean_and_two_cannot_tell():
    one = Difference(1, 1, 0.01, 9, 1)
    assert one.every_seed_agrees is None
    assert replace(one, by_seed=(1, 1)).every_seed_agrees is None
    assert replace(one, by_seed=(1, 3, 1)).every_seed_agrees is True
    assert replace(one, by_seed=(1, 3, -1)).every_seed_agrees is False
    assert replace(one, by_seed=(1, 2, 0)).every_seed_agrees is False


def test_holm_by_hand():
    # In order .005, .01, .03, .04 times 4, 3, 2, 1 is .02, .03, .06, .04, and the last is no less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([3 / 100, 6 / 100, 6 / 100, 2 / 100])
    assert holm([0.7, 0.9]) == [1, 1] and holm([0.03]) == [0.03] and holm([]) == []


@settings(max_examples=60)
@given(P_VALUES)
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    """A test is rejected if every subset that has it is: if the least p of the subset times its size is small."""
    tests = range(len(p_values))
    subsets = [subset for size in range(1, len(p_values) + 1) for subset in combinations(tests, size)]
    bonferroni = {subset: min(1, len(subset) * min(p_values[test] for test in subset)) for subset in subsets}
    wanted = [max(p for subset, p in bonferroni.items() if test in subset) for test in tests]
    assert holm(p_values) == pytest.approx(wanted)


@settings(max_examples=60)
@given(P_VALUES, st.floats(0, 1), st.randoms())
def test_adjusted_p_are_monotone(p_values, another, random):
    adjusted = holm(p_values)
    assert all(p <= more <= 1 for p, more in zip(p_values, adjusted, strict=True))
    assert [adjusted[test] for test in np.argsort(p_values, kind="stable")] == sorted(adjusted)
    larger = holm([*p_values, another])[:-1]  # another test lowers none
    assert all(p <= more + 1e-15 for p, more in zip(adjusted, larger, strict=True))
    order = random.sample(range(len(p_values)), len(p_values))
    assert holm([p_values[test] for test in order]) == [adjusted[test] for test in order]


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_a_p_is_a_probability(p):
    with pytest.raises(ValueError, match=f"p is between 0 and 1; the family has {p}"):
        holm([0.5, p])


def family(p_values: list[float]) -> list[Difference]:
    return [Difference(1, 1, p, 9, 1) for p in p_values]


@settings(max_examples=60)
@given(st.lists(st.sampled_from([0.0001, 0.004, 0.012, 0.02, 0.03, 0.2, 0.9]), min_size=1, max_size=7))
def test_the_level_is_what_a_test_that_is_not_significant_had_to_be_below(p_values):
    corrected = correct(family(p_values))
    assert [test.p for test in corrected] == holm(p_values)
    for place, test in enumerate(corrected):
        if not test.significant:
            below, above = (
                [*p_values[:place], test.level * factor, *p_values[place + 1 :]] for factor in (0.999, 1.001)
            )
            assert correct(family(below))[place].significant and not correct(family(above))[place].significant


def test_comparisons_of_the_same_training_are_no_tests():
    same = Difference(0, 0, 1, 9, 1)
    first, nothing, second = correct([family([0.02])[0], same, family([0.04])[0]])
    assert nothing.identical and nothing.p == 1
    assert (first.p, second.p) == (2 * 0.02, 0.04) and first.significant and second.significant
    assert correct([]) == []


@pytest.mark.parametrize("level", [LEVEL, LEVEL / 20])
@pytest.mark.parametrize("power", [POWER, 0.3])
def test_the_smallest_effect_is_seen_with_the_power_that_it_names(level, power):
    repetitions, cases = 2000, 400
    rng = np.random.default_rng(0)
    base = rng.normal(size=cases)
    effect = smallest_detectable(1 / math.sqrt(cases), level, power)  # the differences have deviation 1
    seen = [paired_difference(base, base + rng.normal(effect, 1, cases)).p < level for _ in range(repetitions)]
    assert abs(np.mean(seen) - power) < 4 * math.sqrt(power * (1 - power) / repetitions)


def test_the_smallest_effect_is_2_8_errors_and_more_in_a_family():
    assert smallest_detectable(2) == pytest.approx(2 * (1.95996 + 0.84162), abs=1e-4)
    test = Difference(0.001, 0.001, 0.3, 9, 0.05)
    assert test.relative_detectable == pytest.approx(0.0028016 / 0.05, rel=1e-4)
    assert replace(test, level=LEVEL / 10).relative_detectable > test.relative_detectable


def test_a_paired_t_by_hand():
    base = [0.0, 0.0, 1.0, 1.0]
    paired = paired_t(base, [1.0, 1.0, 2.0, 0.0])
    assert (paired.value, paired.n, paired.base, paired.degrees) == (1 / 2, 4, 1 / 2, 3)
    assert paired.error == pytest.approx(1 / 2)  # as in the normal limit above: only p and the quantiles differ
    # t = 1 with three degrees: 1 - 2 (atan(1 / sqrt(3)) + sqrt(3) / 4) / pi.
    assert paired.p == pytest.approx(1 - 2 / math.pi * (math.atan(1 / math.sqrt(3)) + math.sqrt(3) / 4))
    assert paired.effect_size == pytest.approx(1 / 2)  # the deviation of the differences is 1
    limit = paired_difference(base, [1.0, 1.0, 2.0, 0.0])
    assert paired.detectable > limit.detectable and paired.interval()[0] < limit.interval()[0]
    assert paired_t(base, base).identical and math.isnan(paired_t(base, base).effect_size)


@settings(max_examples=40)
@given(st.lists(st.integers(-3, 5), min_size=2, max_size=12), st.integers(1, 4))
def test_more_cases_of_the_same_users_are_no_more_evidence(difference, copies):
    one = paired_t([0.0] * len(difference), difference)
    users = np.repeat(np.arange(len(difference)), copies)
    several = paired_t([0.0] * len(users), np.repeat(difference, copies), users)
    assert (several.value, several.error, several.p) == pytest.approx((one.value, one.error, one.p))
    assert (several.n, several.degrees) == (one.n, one.degrees)
    assert one.error == pytest.approx(paired_difference([0.0] * len(difference), difference).error)


def test_the_interval_of_a_paired_t_excludes_0_if_and_only_if_it_is_significant():
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(60):
        paired = paired_t(np.zeros(5), rng.normal(0.8, 1, 5))
        low, high = paired.interval()
        assert paired.significant == (low > 0 or high < 0)
        verdicts.add(paired.verdict)
    assert verdicts == {"better", "not shown"}


def test_a_paired_t_needs_two_users():
    with pytest.raises(ValueError, match="two users or more, one for each case; there are 1"):
        paired_t([1, 2], [2, 4], [7, 7])
    with pytest.raises(ValueError, match="one for each case"):
        paired_t([1, 2], [2, 4], [7, 8, 9])


def test_verdicts_in_words():
    one = Difference(1, 1, 0.01, 9, 1)
    assert one.verdict == "better" and replace(one, value=-1).verdict == "worse"
    assert replace(one, p=0.05).verdict == "not shown" and Difference(0, 0, 1, 9, 1).verdict == "identical"


def test_mean_and_spread_over_seeds():
    of_three = mean([1, 2, 6])
    assert (of_three.value, of_three.n) == (3, 3) and of_three.deviation == pytest.approx(math.sqrt(14 / 2))
    assert math.isnan(mean([5]).deviation)
