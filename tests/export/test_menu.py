"""The menu against the greedy choice without its shortcut, and the space that texts are compared in."""

import numpy as np
import pytest

from eimf.export import menu
from eimf.export.menu import TOO_SIMILAR, menu_order
from eimf.export.text_space import text_space
from eimf.vectors import normalize


def random_unit(count: int, seed: int, width: int = 6) -> np.ndarray:
    return normalize(np.random.default_rng(seed).normal(size=(count, width)))


def eager(similarity: np.ndarray, people: np.ndarray, names: np.ndarray, count: int) -> list[int]:
    """The same choice, every gain computed anew in every round."""
    cosine = names @ people.T
    worth = np.maximum(cosine - cosine.mean(axis=1, keepdims=True), 0)
    order: list[int] = []
    while len(order) < count:
        best = worth[order].max(axis=0) if order else np.zeros(len(people))
        gains = np.maximum(worth - best, 0).sum(axis=1)
        gains[(similarity[:, order] >= TOO_SIMILAR).any(axis=1)] = -1
        if gains.max() < 0:
            break
        order.append(int(gains.argmax()))
    return order


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_greedy_choice(seed):
    names, people = random_unit(30, seed), random_unit(200, seed + 100)
    similarity = names @ names.T
    order = menu_order(similarity, people, names, 12)
    assert order == eager(similarity, people, names, 12)
    assert order == menu_order(similarity, people, names, 12)
    assert (similarity[np.ix_(order, order)][~np.eye(len(order), dtype=bool)] < TOO_SIMILAR).all()


def test_its_first_names_cover_the_groups_of_people_and_none_comes_twice():
    groups = np.eye(4, dtype=np.float32)
    people = np.repeat(groups, [40, 30, 20, 10], axis=0)
    names = normalize(np.concatenate([groups, groups + 0.01, groups + 0.02]))
    assert sorted(label % 4 for label in menu_order(names @ names.T, people, names)) == [0, 1, 2, 3]


def test_a_sample_of_many_people_gives_the_same_menu(monkeypatch):
    people, names = np.repeat(random_unit(50, 1), 8, axis=0), random_unit(20, 2)
    whole = menu_order(names @ names.T, people, names, 5)
    monkeypatch.setattr(menu, "MAX_PEOPLE", 50)
    assert menu_order(names @ names.T, people, names, 5) == whole


def test_without_people_or_names_there_is_no_error():
    names = random_unit(3, 0)
    assert sorted(menu_order(np.eye(3), np.zeros((0, 6), np.float32), names)) == [0, 1, 2]
    assert menu_order(np.zeros((0, 0)), random_unit(5, 0), names[:0]) == []


def test_in_the_text_space_every_direction_of_the_items_varies_equally():
    rng = np.random.default_rng(0)
    texts = (rng.normal(size=(500, 5)) * [9, 3, 1, 0.1, 0]).astype(np.float32) + 7
    space = text_space(texts)
    white = (texts - space.mean) @ space.directions
    assert white.shape == (500, 4)  # the last direction does not vary
    np.testing.assert_allclose(white.T @ white / 500, np.eye(4), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(space(texts), axis=1), 1, atol=1e-5)
