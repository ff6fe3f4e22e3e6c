"""The signal check in planted worlds: what adds something is found, and what does not is called nothing or not
shown."""

import numpy as np
import pytest

from eimf.choice.cases import read_choices
from eimf.choice.check import CheckedSource, check_sources, ranges
from eimf.choice.design import Design, HalfFit, fit_halves, judge_halves
from eimf.choice.sources import FixedSource, ItemSource
from eimf.choice.verdict import Comparison, compare
from eimf.errors import DataError
from tests.choice.worlds import choices_of, chosen_by, histories_with

ITEMS = 40


def world(users: int, weights: tuple[float, float], seed: int = 0):
    """People who choose by two sources with these weights, and a third one that plays no part."""
    rng = np.random.default_rng(seed)
    one, two, other = rng.normal(size=(3, users, ITEMS)).astype(np.float32)
    histories = histories_with(chosen_by(weights[0] * one + weights[1] * two, seed), num_items=ITEMS)
    sources = {name: FixedSource(name, values[:, None]) for name, values in zip("abc", (one, two, other), strict=True)}
    return choices_of(histories), sources


def checked(users: int, weights: tuple[float, float]):
    choices, sources = world(users, weights)
    control = FixedSource("b, shuffled", np.roll(sources["b"].values, 1, axis=0))
    return check_sources([sources["a"]], [sources["b"], sources["c"]], {"b": [control]}, choices)


def compared(source: CheckedSource) -> Comparison:
    return compare(source.without, source.with_source, source.best_control)


def test_what_decides_adds_and_what_does_not_adds_nothing():
    found = checked(2000, (1.0, 0.7))
    assert compared(found["b"]).verdict() == "adds"
    assert compared(found["b"]).nats.value > 0.1
    assert abs(compared(found["b"]).control.value) < 0.01
    assert compared(found["c"]).verdict() == "adds nothing"
    assert abs(compared(found["c"]).nats.value) < 0.005


def test_too_few_people_show_nothing():
    assert compared(checked(40, (1.0, 0.1))["b"]).verdict() == "not shown"


def test_what_is_known_already_adds_nothing():
    choices, sources = world(2000, (1.0, 0.0))
    again = FixedSource("again", 3 * sources["a"].values)
    assert compared(check_sources([sources["a"]], [again], {}, choices)["again"]).verdict() == "adds nothing"


def test_a_control_that_adds_as_much_takes_the_verdict_away():
    choices, sources = world(2000, (1.0, 0.7))
    same = FixedSource("same", sources["b"].values)
    comparison = compared(check_sources([sources["a"]], [sources["b"]], {"b": [same]}, choices)["b"])
    assert comparison.nats.value > 0.1 and comparison.verdict() != "adds"


def test_each_known_source_is_compared_with_the_others():
    choices, sources = world(2000, (1.0, 0.7))
    found = check_sources([sources["a"], sources["b"], sources["c"]], [], {}, choices)
    assert [compared(found[name]).verdict() for name in "abc"] == ["adds", "adds", "adds nothing"]


def test_a_choice_is_judged_by_the_weights_of_the_other_half():
    choices, sources = world(80, (1.0, 0.0))
    design = Design([sources["a"]], choices)
    halves = design.halves()
    fits = (HalfFit(np.array([2.0]), np.eye(1)), HalfFit(np.array([-1.0]), np.eye(1)))
    judged = judge_halves(design, fits)
    scores = sources["a"].values[:, 0].astype(np.float64) / design.scale[0]
    for half, weight in zip(halves, (-1.0, 2.0), strict=True):
        for block in half:
            for case in range(block.start, block.stop):
                total = weight * scores[case]
                own = total[choices.chosen[case]]
                assert judged.nats[case] == pytest.approx(own - np.log(np.exp(total).sum()), abs=1e-4)
                assert judged.rank[case] == (total >= own).sum()
    assert sorted(case for half in halves for block in half for case in range(block.start, block.stop)) == list(
        range(80)
    )


def test_fitted_weights_are_those_that_people_choose_by():
    choices, sources = world(4000, (1.0, 0.5))
    design = Design([sources["a"], sources["b"]], choices)
    for fit in fit_halves(design, ["a", "b"]):
        np.testing.assert_allclose(fit.weights / design.scale, [1.0, 0.5], atol=0.08)


def test_items_of_the_history_are_not_candidates():
    histories = histories_with(np.full(60, 40), num_items=ITEMS)
    choices = choices_of(histories, keep_seen=False)
    values = np.zeros((1, ITEMS))
    values[0, choices.chosen[0]] = -1.0
    judged = judge_halves(design := Design([ItemSource("i", values)], choices), fit_halves(design, ["i"]))
    counts = [ITEMS - len(set(choices.window[case].tolist())) for case in range(len(choices))]
    assert (judged.rank <= counts).all()


def test_too_few_cases_are_one_clear_line():
    histories = histories_with(np.full(5, 7), num_items=ITEMS)
    events = histories.item_idx.reshape(5, -1)
    events[:, 0] = 7
    with pytest.raises(DataError, match="0 cases of the split 'valid'"):
        read_choices(histories, "valid", max_length=5, keep_seen=False, max_scores=1 << 20)


def test_groups_of_cases_cover_all_of_them_once():
    values = np.array([0, 5, 6, 20, 21, 1000])
    groups = ranges("{} events", values, (5, 20))
    assert list(groups) == ["up to 5 events", "6 to 20 events", "21 or more events"]
    np.testing.assert_array_equal(np.sum(list(groups.values()), axis=0), np.ones(6))
