"""Sources against plain loops."""

import numpy as np
import pytest

from eimf.choice.sources import PersonSource, centered, item_order, pair_source, similarity_source
from eimf.data.cooccurrence import Cooccurrence, count_cooccurrence
from eimf.data.histories import Histories
from tests.choice.worlds import choices_of, histories_with

RNG = np.random.default_rng(3)
USERS, ITEMS = 30, 40


@pytest.fixture(scope="module")
def histories() -> Histories:
    return histories_with(RNG.integers(1, ITEMS, USERS, endpoint=True))


def dense(similarity: Cooccurrence) -> np.ndarray:
    matrix = np.zeros((similarity.num_items,) * 2)
    row = np.repeat(np.arange(similarity.num_items), np.diff(similarity.offsets))
    matrix[row, similarity.neighbor_row] = similarity.similarity
    return matrix


def minus_mean(scores: np.ndarray) -> np.ndarray:
    return scores - scores.mean(axis=0)


def of_histories(histories: Histories, matrix: np.ndarray) -> np.ndarray:
    """The mean row of `matrix` [N, .] over each history, and that of its last item, minus the mean over people."""
    rows = histories.item_idx.reshape(USERS, -1)[:, :-1] - 1
    return minus_mean(np.stack([matrix[rows].mean(axis=1), matrix[rows[:, -1]]], axis=1))


def test_cooccurrence_is_that_of_a_loop_over_users(histories):
    count, users = np.zeros((ITEMS, ITEMS)), np.zeros(ITEMS)
    for user in range(USERS):
        begin = histories.offsets[user]
        items = set(histories.item_idx[begin : begin + histories.num_train[user]].tolist())
        for one in items:
            users[one - 1] += 1
            for other in items - {one}:
                count[one - 1, other - 1] += 1
    similarity = count_cooccurrence(histories)
    np.testing.assert_array_equal(similarity.users, users)
    expected = count / np.sqrt((users + 5)[:, None] * (users + 5))
    np.testing.assert_allclose(dense(similarity), expected, atol=1e-7)
    rows, similarities = similarity.nearest(3)
    np.testing.assert_allclose(similarities, -np.sort(-expected, axis=1)[:, :3], atol=1e-7)
    np.testing.assert_allclose(np.take_along_axis(expected, rows.astype(int), axis=1), similarities, atol=1e-7)


def test_pairs_farther_apart_than_the_reach_are_not_counted():
    item_idx = np.array([1, 2, 3, 1, 4], np.int32)
    histories = Histories(item_idx, np.array([0, 5]), np.array([5]), 4)
    linked = dense(count_cooccurrence(histories, reach=1)) > 0
    few = count_cooccurrence(histories, most_pairs=2 * int(histories.num_train.sum()) - 1)  # too few for a reach of 2
    np.testing.assert_array_equal(dense(few), dense(count_cooccurrence(histories, reach=1)))
    assert linked[0, 1] and linked[1, 2] and linked[2, 3]
    assert not linked[0, 2] and not linked[1, 3]


def test_a_source_of_pairs_and_its_control(histories):
    choices, order = choices_of(histories), item_order(ITEMS, 1)
    assert sorted(order) == list(range(ITEMS)) and not (order == np.arange(ITEMS)).any()
    history, item = RNG.normal(size=(2, ITEMS, 5)).astype(np.float32)
    for chosen in (None, order):
        f, g = (history, item) if chosen is None else (history[chosen], item[chosen])
        source = pair_source("pairs", history, item, choices, chosen)
        scores = source.scores(choices, slice(0, USERS))
        np.testing.assert_allclose(scores, of_histories(histories, f @ g.T), atol=1e-4)


def test_the_similarity_of_histories_and_its_control(histories):
    choices, order = choices_of(histories), item_order(ITEMS, 2)
    similarity = count_cooccurrence(histories)
    matrix = dense(similarity)
    scores = similarity_source("similar", similarity, choices).scores(choices, slice(0, USERS))
    np.testing.assert_allclose(scores, of_histories(histories, matrix), atol=1e-6)
    scores = similarity_source("similar", similarity, choices, order).scores(choices, slice(0, USERS))
    np.testing.assert_allclose(scores, of_histories(histories, matrix[np.ix_(order, order)]), atol=1e-6)


def test_the_best_of_the_vectors_that_a_person_has(histories):
    choices = choices_of(histories)
    people, item = RNG.normal(size=(USERS, 3, 4)).astype(np.float32), RNG.normal(size=(ITEMS, 4)).astype(np.float32)
    mask = RNG.random((USERS, 3)) < 0.6
    mask[0] = False
    source = PersonSource("people", people, item, mask)
    expected = np.where(mask[:, :, None], people @ item.T, -np.inf).max(axis=1)
    expected[~mask.any(axis=1)] = 0
    np.testing.assert_allclose(source.scores(choices, slice(0, USERS))[:, 0], expected, atol=1e-5)
    scores = centered(source, choices).scores(choices, slice(5, 9))[:, 0]
    np.testing.assert_allclose(scores, minus_mean(expected)[5:9], atol=1e-5)
