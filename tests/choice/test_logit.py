"""The conditional logit against finite differences, against weights that are known, and its ranks against sorting."""

from collections.abc import Iterator

import numpy as np
import pytest

from eimf.choice.logit import Block, Blocks, fit_logit, ranks

NOTHING = np.zeros(0, np.int64)
EVERY = np.array([True, True, True])


def cases(count: int, weights: np.ndarray, seed: int = 0, items: int = 40) -> Blocks:
    """People who choose among items by the softmax of their weighted scores, in blocks of 500."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(count, len(weights), items)).astype(np.float32)
    noise = rng.gumbel(size=(count, items))
    chosen = (weights @ scores + noise).argmax(axis=1)

    def generate() -> Iterator[Block]:
        for start in range(0, count, 500):
            yield Block(scores[start : start + 500], chosen[start : start + 500], NOTHING, NOTHING)

    return generate


def log_likelihood(blocks: Blocks, weights: np.ndarray) -> float:
    """Mean log p(chosen) = total of the chosen item - log sum exp(total of all)."""
    values = [
        float(total[chosen] - np.log(np.exp(total[np.isfinite(total)]).sum()))
        for block in blocks()
        for total, chosen in zip(block.total(weights).astype(np.float64), block.chosen, strict=True)
    ]
    return sum(values) / len(values)


def test_it_finds_the_weights_that_people_choose_by():
    weights = np.array([2.0, -0.5, 0.0])
    blocks = cases(4000, weights)
    found = fit_logit(blocks, EVERY, penalty=0)
    np.testing.assert_allclose(found, weights, atol=0.08)  # four standard errors
    np.testing.assert_allclose(fit_logit(blocks, EVERY, penalty=0, begin=found + 1), found, atol=1e-3)


@pytest.mark.parametrize("free", [[True, False, True], [False, False, True]])
def test_no_step_away_from_it_gains_and_other_weights_are_0(free):
    blocks, free = cases(300, np.array([1.0, 1.0, -1.0])), np.array(free)
    found, penalty = fit_logit(blocks, free), 1e-3

    def value(weights: np.ndarray) -> float:
        return log_likelihood(blocks, weights) - penalty * float(weights @ weights)

    assert not found[~free].any()
    for part in np.flatnonzero(free):
        step = np.eye(3)[part] * 0.01
        assert value(found) >= max(value(found + step), value(found - step))


def test_a_score_that_decides_everything_keeps_a_finite_weight():
    chosen = np.arange(20) % 5
    scores = np.zeros((20, 1, 5), np.float32)
    scores[np.arange(20), 0, chosen] = 1
    found = fit_logit(lambda: iter([Block(scores, chosen, NOTHING, NOTHING)]), EVERY[:1])
    assert np.isfinite(found).all() and found[0] > 3


def test_excluded_items_are_not_chosen_from_and_equal_scores_rank_by_number():
    scores = np.array([[[3.0, 1.0, 1.0, 1.0]], [[3.0, 1.0, 1.0, 1.0]]], np.float32)
    block = Block(scores, np.array([2, 2]), np.array([1]), np.array([0]))
    assert ranks(lambda: iter([block]), np.ones(1)).tolist() == [3, 2]
    only = Block(scores[:1], np.array([2]), np.zeros(3, np.int64), np.array([0, 1, 3]))
    assert log_likelihood(lambda: iter([only]), np.ones(1)) == pytest.approx(0, abs=1e-12)
