"""Cold-start scores by hand, and what serving them needs."""

import ast
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from eimf.serving import cold_start
from eimf.serving.cold_start import MANY, ColdStart, ColdStartPart, ColdStartWeights

ITEMS = np.array([[1.0, 0.0, 0.5], [0.0, 2.0, 0.25]], np.float32)
VECTORS = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
MEANS = np.array([[0.5, 0.5], [2, 0], [0, 4]], np.float32)


def part(**named: float) -> ColdStartPart:
    weights = ColdStartWeights(**named)
    return ColdStartPart(unnamed=ColdStartWeights(recent=3.0, average=2.0), named=(weights,) * (MANY + 1))


def test_scores_by_hand():
    cold = ColdStart(
        part(recent=1.0, popularity=0.5, late=4.0, average=2.0, names=3.0, history=10.0), ITEMS, MEANS, VECTORS
    )
    of_items = [1 + 4 / 2, 2 / 2 + 4 / 4]
    names = [2 * 0.5 + 3 * 2 / 2, 2 * 0.5 + 3 * 4 / 2]  # the mean of both names
    np.testing.assert_allclose(cold.scores([0, 1], None, 0), np.add(of_items, names))
    interests = np.array([[1, 0], [0.5, 2]], np.float32)
    np.testing.assert_allclose(cold.scores([0, 1], interests, 2), np.add(of_items, names) + np.array([10 * 1, 10 * 2]))
    np.testing.assert_allclose(cold.scores([], interests, 2), [1, 2])  # the history alone
    np.testing.assert_allclose(cold.scores([], None, 0), [3 + 2 / 2, 2 / 2])


def test_weights_follow_the_number_of_events():
    named = tuple(ColdStartWeights(history=float(number + 1)) for number in range(MANY + 1))
    cold = ColdStart(ColdStartPart(unnamed=named[0], named=named), ITEMS, MEANS, VECTORS)
    interests = np.ones((1, 2), np.float32)
    assert [float(cold.scores([0], interests, events)[0]) for events in (1, 3, 4, 50)] == [2, 4, 5, 5]
    assert cold.scores([0], None, 0).dtype == np.float32


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e9])
def test_a_weight_is_a_plain_number(wrong):
    with pytest.raises(ValidationError):
        ColdStartWeights(recent=wrong)
    assert ColdStartPart.model_validate_json(part().model_dump_json()) == part()


def test_it_needs_numpy_and_pydantic_only():
    tree = ast.parse(Path(cold_start.__file__).read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert modules <= {"numpy", "pydantic", "collections.abc", "typing"}
