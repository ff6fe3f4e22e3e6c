import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.student_t import quantile, two_sided_p

DEGREES = st.sampled_from([1, 2, 3.5, 10, 77, 4904, math.inf])


@pytest.mark.parametrize("statistic", [0, 1e-9, 0.3, 1, 2.5, 40])
def test_p_has_the_closed_forms_of_one_and_two_degrees_and_of_the_limit(statistic):
    # One degree is Cauchy's distribution; two have the integral t / sqrt(2 + t^2).
    assert two_sided_p(statistic, 1) == pytest.approx(1 - 2 / math.pi * math.atan(statistic), rel=1e-9)
    assert two_sided_p(-statistic, 2) == pytest.approx(1 - statistic / math.sqrt(2 + statistic**2), rel=1e-9)
    assert two_sided_p(statistic, math.inf) == math.erfc(statistic / math.sqrt(2))


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0005, 0.9995), DEGREES)
def test_a_quantile_is_exceeded_with_its_probability(probability, degrees):
    value = quantile(probability, degrees)
    assert (value > 0) == (probability > 0.5) or abs(value) < 1e-9
    assert two_sided_p(value, degrees) == pytest.approx(2 * min(probability, 1 - probability), rel=1e-9)


@settings(max_examples=40)
@given(st.floats(0.01, 30), DEGREES)
def test_fewer_degrees_have_heavier_tails(statistic, degrees):
    assert two_sided_p(statistic, degrees) < two_sided_p(statistic, degrees * 0.9 if degrees < math.inf else 9)
    assert two_sided_p(statistic * 1.01, degrees) < two_sided_p(statistic, degrees)


def test_the_ends():
    assert two_sided_p(math.inf, 3) == 0 and two_sided_p(0, 3) == 1 and quantile(0.5, 3) == 0
    for degrees in (0, -1, math.nan):
        with pytest.raises(ValueError, match="degrees of freedom are above 0"):
            two_sided_p(1, degrees)
    for probability in (0, 1, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            quantile(probability)
