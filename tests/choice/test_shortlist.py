"""Shortlists: the best items of each case, what was chosen among them, and the same fit if they hold everything."""

import numpy as np
import pytest

from eimf.choice.design import Design, fit_everybody, fit_halves, judge_halves
from eimf.choice.shortlist import shortlists
from eimf.choice.sources import FixedSource, ItemSource
from tests.choice.worlds import choices_of, chosen_by, histories_with

ITEMS, USERS = 60, 300
WEIGHTS = np.array([1.5, 0.7])


@pytest.fixture(scope="module")
def design() -> Design:
    """People who choose by a score of their own and by one of the items, at different scales."""
    rng = np.random.default_rng(3)
    values, bias = rng.normal(size=(USERS, 1, ITEMS)) * 7, rng.normal(size=(1, ITEMS)) * 0.1
    scores = values[:, 0] / 3 + 10 * bias
    had = histories_with(np.ones(USERS, np.int64), num_items=ITEMS).item_idx.reshape(USERS, -1)[:, :-1]
    np.put_along_axis(scores, had - 1, -np.inf, axis=1)  # nobody chooses what they had
    choices = choices_of(histories_with(chosen_by(scores, seed=4), num_items=ITEMS), keep_seen=False)
    assert len(choices) == USERS and choices.excluded_case.size
    return Design([FixedSource("model", values.astype(np.float32)), ItemSource("bias", bias)], choices)


def totals(design: Design, weights: np.ndarray) -> np.ndarray:
    blocks = design.blocks(design.every_block(), design.names)()
    return np.concatenate([block.total(weights) for block in blocks])


@pytest.mark.parametrize("size", [1, 7, 30])
def test_a_shortlist_has_the_best_items_and_keeps_the_cases_whose_item_is_among_them(design, size):
    total = totals(design, WEIGHTS)
    chosen = design.choices.chosen
    own = np.take_along_axis(total, chosen[:, None], axis=1)
    place = (total > own).sum(axis=1)
    kept = np.flatnonzero(place < size)
    short = shortlists(design, design.names, WEIGHTS, 1, size).design
    np.testing.assert_array_equal(short.choices.user_idx, design.choices.user_idx[kept])
    weights = np.random.default_rng(0).normal(size=2)
    shown, every = totals(short, weights * short.scale), totals(design, weights * design.scale)
    for row, case in enumerate(kept):
        best = np.argsort(-total[case])[:size]
        np.testing.assert_allclose(np.sort(shown[row]), np.sort(every[case][best]), rtol=1e-4, atol=1e-4)
        assert shown[row][short.choices.chosen[row]] == pytest.approx(every[case][chosen[case]], rel=1e-4, abs=1e-4)


def test_a_shortlist_of_everything_changes_nothing(design):
    short = shortlists(design, design.names, WEIGHTS, 1, ITEMS + 5)
    begin = np.zeros(2)
    one, other = (fit_everybody(each, each.names, begin) / each.scale for each in (design, short.design))
    np.testing.assert_allclose(one, other, rtol=1e-3)
    assert len(short.design.choices) == USERS


def test_the_rank_is_that_of_the_first_source_alone(design):
    of_model = totals(design, np.array([1.0, 0.0]))
    own = np.take_along_axis(of_model, design.choices.chosen[:, None], axis=1)
    np.testing.assert_array_equal(shortlists(design, design.names, WEIGHTS, 1, 5).rank, (of_model >= own).sum(axis=1))


def test_too_few_cases_on_their_shortlists_fit_nothing(design):
    few = shortlists(design, design.names, WEIGHTS, USERS + 1, 5)
    assert few.design is None and len(few.rank) == USERS


def test_weights_of_half_the_people_predict_the_others_better_than_the_model_alone(design):
    short = shortlists(design, design.names, WEIGHTS, 8, 20).design
    alone, both = (judge_halves(short, fit_halves(short, names)) for names in (["model"], short.names))
    assert both.nats.mean() > alone.nats.mean()
