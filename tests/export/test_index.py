"""Which index a bundle gets, and what is told of it."""

import numpy as np
import pytest

from eimf.errors import SettingError
from eimf.export import index as export
from eimf.export.index import build_index, recalls
from eimf.serving.index import Found


def vectors(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_few_items_are_all_compared():
    assert build_index(vectors(0, 100, 4), vectors(1, 0, 1, 4)).kind == "exact"


def test_many_items_are_sorted_into_lists_if_that_finds_enough(monkeypatch):
    monkeypatch.setattr(export, "EXACT_ITEMS", 2000)
    table, users = vectors(0, 2501, 8), vectors(1, 24, 2, 8)
    built = build_index(table, users)
    assert built.kind == "ivfpq" and built.recall["50"] >= 0.98
    assert built.parameters.keys() == {"effort", "fetch", "lists"}
    again = build_index(table, users)
    assert (again.parameters, again.recall) == (built.parameters, built.recall)
    assert np.array_equal(again.data, built.data)
    monkeypatch.setattr(export, "_by_cost", lambda *_: iter([{"effort": 1, "fetch": 1}]))
    assert build_index(table, users).kind == "exact"
    assert build_index(table, users, "ivfpq").recall["50"] < 0.9


def test_a_lower_target_is_cheaper():
    table, users = vectors(0, 2501, 8), vectors(1, 24, 2, 8)
    low, high = (build_index(table, users, "ivfpq", target_recall=target) for target in (0.6, 0.99))
    assert low.parameters["effort"] * low.parameters["fetch"] < high.parameters["effort"] * high.parameters["fetch"]
    assert low.recall["50"] < high.recall["50"]


def test_an_odd_width_has_an_index():
    assert build_index(vectors(0, 500, 5), vectors(1, 20, 1, 5), "ivfpq").recall["10"] > 0.9


def test_without_users_nothing_is_tuned():
    with pytest.raises(SettingError, match="tuned with the interests of users"):
        build_index(vectors(0, 100, 4), vectors(1, 0, 1, 4), "hnsw")


def test_recall_counts_ties_and_few_items():
    def found(item_idx, scores):
        return Found(np.array([item_idx]), np.array([scores], np.float32), np.zeros((1, 3), np.int64))

    exact = found([1, 2, 3], [9, 8, 7])
    assert recalls(found([1, 4, 5], [9, 7, 6]), exact, 3).tolist() == [2 / 3]  # item 4 ties with item 3
    assert recalls(found([1, 2, 4], [9, 8, 7]), exact, 2).tolist() == [1]
    few = found([6, 0, 0], [1, -np.inf, -np.inf])
    assert recalls(few, few, 3).tolist() == [1]
