"""Indexes against a sorted oracle: six lines that score every item and sort."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eimf.retrieval import Exclude as TorchExclude
from eimf.retrieval import best_item_idx
from eimf.serving import top
from eimf.serving.index import ExactIndex, Exclude, Found


def oracle(table, interests, count, excluded=(), allow=None) -> Found:
    """The same for one query, one item after another."""
    found = Found.nothing(1, count)
    products = (table.astype(np.float64) @ interests.astype(np.float64).T).astype(np.float32)
    products[np.isnan(products)] = -np.inf
    score = products.max(axis=1).tolist()
    left = set(range(1, len(table)) if allow is None else allow) - set(excluded)
    left = sorted((-score[item], item) for item in left if score[item] > -np.inf)
    for place, (negative, item) in enumerate(left[:count]):
        found.item_idx[0, place], found.scores[0, place] = item, -negative
        found.interest[0, place] = products[item].argmax()
    return found


def assert_equal(found: Found, expected: list[Found]) -> None:
    for name in ("item_idx", "scores", "interest"):
        values = np.concatenate([getattr(each, name) for each in expected])
        assert np.array_equal(getattr(found, name), values), name


def vectors(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@st.composite
def searches(draw):
    """A table with few distinct values, so with many ties, some of them no numbers; queries; what is excluded."""
    seed = draw(st.integers(0, 999))
    items, queries, interests, width = (draw(st.integers(1, high)) for high in (300, 20, 4, 5))
    rng = np.random.default_rng(seed)
    table = rng.integers(-draw(st.sampled_from([0, 1, 9])), 2, (items + 1, width)).astype(np.float32)
    for odd in draw(st.lists(st.sampled_from([np.nan, np.inf, -np.inf]), max_size=3)):
        table[rng.integers(1, items + 1), rng.integers(0, width)] = odd
    table[0] = 0
    excluded = draw(st.integers(0, 2 * items))
    exclude = Exclude(rng.integers(0, queries, excluded), rng.integers(1, items + 1, excluded))
    allow = draw(st.sampled_from([None, 0, 1, items // 2 + 1]))
    allow = allow if allow is None else rng.integers(1, items + 1, allow)
    interests = rng.integers(-2, 3, (queries, interests, width)).astype(np.float32)
    return table, interests, draw(st.integers(1, items + 10)), exclude, allow


@pytest.mark.parametrize("queries", [1, 15, 16, 40])
def test_an_interest_without_numbers_hides_nothing_that_another_one_brings(queries):
    table, interests = vectors(0, 30, 4), vectors(1, queries, 2, 4)
    interests[::2, 0] = interests[1::2, 1] = np.nan
    table[0] = 0
    assert_equal(ExactIndex(table).search(interests, 9), [oracle(table, one, 9) for one in interests])


@given(searches())
@pytest.mark.filterwarnings("ignore:invalid value")
def test_exact_search_is_the_sorted_oracle(search):
    table, interests, count, exclude, allow = search
    found = ExactIndex(table).search(interests, count, exclude=exclude, allow=allow)
    expected = [
        oracle(table, interests[query], count, exclude.item_idx[exclude.query == query], allow)
        for query in range(len(interests))
    ]
    assert_equal(found, expected)


@pytest.mark.parametrize(
    ("queries", "interests", "count"), [(1, 1, 50), (1, 4, 50), (3, 2, 7), (40, 4, 20), (40, 1, 700)]
)
def test_search_in_blocks_of_items_and_queries_is_the_sorted_oracle(queries, interests, count, monkeypatch):
    monkeypatch.setattr(top, "_SCORES", 2**12)
    monkeypatch.setattr(top, "_QUERIES", 16)
    table, user = vectors(0, 3001, 16), vectors(1, queries, interests, 16)
    table[1501:] = table[1:1501]  # every item twice
    exclude = Exclude(np.repeat(np.arange(queries), 50), np.random.default_rng(2).integers(1, 3001, 50 * queries))
    found = ExactIndex(table).search(user, count, exclude=exclude)
    assert_equal(found, [oracle(table, user[q], count, exclude.item_idx[exclude.query == q]) for q in range(queries)])


@pytest.mark.parametrize(("width", "own"), [(16, 0), (16, 1), (16, 5), (16, 15), (200, 30), (200, 150)])
@pytest.mark.parametrize("queries", [1, 3, 40])
def test_coordinates_that_all_interests_of_a_query_share_count_as_any_others(queries, width, own, monkeypatch):
    """As those of a calibrated model do, whatever the way in which few long vectors are multiplied."""
    monkeypatch.setattr(top, "_SCORES", 2**12)
    table, user = vectors(0, 3001, width), vectors(1, queries, 4, width)
    user[:, :, own:] = user[:, :1, own:]
    exclude = Exclude(np.repeat(np.arange(queries), 50), np.random.default_rng(2).integers(1, 3001, 50 * queries))
    found = ExactIndex(table).search(user, 20, exclude=exclude)
    assert_equal(found, [oracle(table, user[q], 20, exclude.item_idx[exclude.query == q]) for q in range(queries)])


def test_search_equals_the_ranking_of_the_evaluation():
    table, user = vectors(0, 5001, 32), vectors(1, 30, 4, 32)
    query, item_idx = np.repeat(np.arange(30), 9), np.random.default_rng(2).integers(1, 5001, 270)
    found = ExactIndex(table).search(user, 20, exclude=Exclude(query, item_idx))
    excluded = TorchExclude(torch.from_numpy(query), torch.from_numpy(item_idx))
    best, scores = best_item_idx(torch.from_numpy(user), torch.from_numpy(table[1:]), excluded, 20)
    assert np.array_equal(found.item_idx, best.numpy())
    assert np.allclose(found.scores, scores.numpy(), atol=1e-5)


def test_a_query_is_answered_alike_in_a_batch_and_alone():
    index, user = ExactIndex(vectors(0, 9001, 24)), vectors(1, 40, 4, 24)
    assert_equal(index.search(user, 30), [index.search(user[query : query + 1], 30) for query in range(40)])


def test_a_model_that_scores_everything_alike_is_answered_by_the_first_items():
    found = ExactIndex(vectors(0, 20_001, 8)).search(np.zeros((2, 4, 8), np.float32), 5)
    assert found.item_idx.tolist() == [[1, 2, 3, 4, 5]] * 2
    assert not found.interest.any()


def test_no_query_and_no_item():
    assert ExactIndex(vectors(0, 9, 4)).search(vectors(1, 0, 2, 4), 3).item_idx.shape == (0, 3)
    assert ExactIndex(np.zeros((1, 4), np.float32)).search(vectors(1, 2, 2, 4), 3).item_idx.tolist() == [[0] * 3] * 2


def test_threads_do_not_disturb_each_other():
    index, user = ExactIndex(vectors(0, 5001, 16)), vectors(1, 8, 4, 16)
    expected = [index.search(user[query : query + 1], 20).item_idx for query in range(8)]
    wrong = []

    def ask(query: int) -> None:
        for _ in range(30):
            if not np.array_equal(index.search(user[query : query + 1], 20).item_idx, expected[query]):
                wrong.append(query)

    threads = [threading.Thread(target=ask, args=(query,)) for query in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
