"""Calibration: what decides gets its weight, what does not is dropped, and the model says what the weights say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from eimf.backbones.build import build_backbone
from eimf.choice import known
from eimf.choice.calibrate import calibrate, calibrated_model
from eimf.choice.design import Design
from eimf.choice.sources import ItemSource, PersonSource, pair_source
from eimf.config import ModelSettings
from eimf.data.cooccurrence import count_cooccurrence
from eimf.data.cooccurrence_factors import factorize
from tests.choice.test_sources import dense
from tests.choice.worlds import choices_of, chosen_by, histories_with

ITEMS, USERS, WIDTH = 40, 3000, 8
MODEL = ModelSettings(backbone="comirec-sa", width=WIDTH, dropout=0.0)


@pytest.fixture(scope="module")
def world():
    """People who choose by a model with several interests, by an item's bias, and by how items go with a history."""
    rng = np.random.default_rng(1)
    histories = histories_with(rng.integers(1, ITEMS, USERS, endpoint=True), num_items=ITEMS)
    backbone = build_backbone(MODEL, ITEMS, seed=3).eval()
    with torch.no_grad():
        backbone.item_table.weight.mul_(30)
    choices = choices_of(histories)
    model = known.model_source(backbone, choices)
    bias = ItemSource("bias", rng.normal(size=(1, ITEMS)))
    noise = ItemSource("noise", rng.normal(size=(1, ITEMS)))
    history, item = rng.normal(size=(2, ITEMS, 3)).astype(np.float32)
    pairs = pair_source("pairs", history, item, choices)
    every = slice(0, USERS)
    spread = model.scores(choices, every).std()
    scores = model.scores(choices, every)[:, 0] / spread + bias.values + 0.8 * pairs.scores(choices, every)[:, 0]
    chosen = chosen_by(scores, seed=2)
    return backbone, [model, bias, noise, pairs], replace(choices, chosen=chosen - 1), spread


def test_weights_are_those_that_people_choose_by_and_noise_has_none(world):
    _, sources, choices, spread = world
    found = calibrate(Design(sources, choices), significance=0.01)
    assert sorted(found.weights) == ["bias", "pairs"]
    assert found.weights["bias"][0] == pytest.approx(spread, rel=0.15)
    np.testing.assert_allclose(found.weights["pairs"] / spread, [0.8, 0], atol=0.15)
    assert found.calibrated > found.alone
    assert found.comparisons["bias"].nats.value > 0.05 > abs(found.comparisons["noise"].nats.value)


def test_the_calibrated_model_scores_as_the_weighted_sources_do(world):
    backbone, sources, choices, _ = world
    weights = {"bias": np.array([0.7]), "pairs": np.array([1.5, -0.4])}
    every = slice(0, USERS)
    model, bias, _, pairs = (source.scores(choices, every) for source in sources)
    expected = model[:, 0] + 0.7 * bias[:, 0] + 1.5 * pairs[:, 0] - 0.4 * pairs[:, 1]
    calibrated = calibrated_model(build_copy(backbone), sources, weights).eval()
    scores = known.model_source(calibrated, choices).scores(choices, every)[:, 0]
    np.testing.assert_allclose(scores, expected, atol=2e-4)
    assert calibrated.item_table.weight.shape == (ITEMS + 1, WIDTH + 6 + 1)  # history and item vectors differ


def test_without_a_source_that_stays_it_is_the_model(world):
    backbone, sources, choices, _ = world
    calibrated = calibrated_model(build_copy(backbone), sources, {}).eval()
    every = slice(0, USERS)
    scores = known.model_source(calibrated, choices).scores(choices, every)
    np.testing.assert_allclose(scores, sources[0].scores(choices, every), atol=1e-5)


def test_a_model_that_says_nothing_is_left_alone():
    rng = np.random.default_rng(5)
    choices = choices_of(histories_with(rng.integers(1, ITEMS, 400, endpoint=True), num_items=ITEMS))
    model = PersonSource("model", rng.normal(size=(400, 1, 4)).astype(np.float32), rng.normal(size=(ITEMS, 4)))
    noise = ItemSource("noise", rng.normal(size=(1, ITEMS)))
    found = calibrate(Design([model, noise], choices), significance=0.001)
    assert found.weights == {} and found.calibrated == found.alone


def test_no_source_looks_at_a_held_out_event():
    rng = np.random.default_rng(7)
    one, other = (histories_with(rng.integers(1, ITEMS, 60, endpoint=True), num_items=ITEMS, seed=9) for _ in range(2))
    assert (one.item_idx != other.item_idx).any()  # only the validation events differ
    for part in ("users", "similarity", "neighbor_row"):
        np.testing.assert_array_equal(*(getattr(count_cooccurrence(each), part) for each in (one, other)))
    for name in known.item_sources(one):
        np.testing.assert_array_equal(*(known.item_sources(each)[name].values for each in (one, other)))
    sources = [known.factored_cooccurrence(each, choices_of(each), 5) for each in (one, other)]
    for part in ("history", "item", "people", "center"):
        np.testing.assert_array_equal(*(getattr(source, part) for source in sources))


def test_factors_are_the_matrix_if_there_are_enough_and_near_it_if_not():
    histories = histories_with(np.random.default_rng(2).integers(1, ITEMS, 200, endpoint=True), num_items=ITEMS)
    similarity = count_cooccurrence(histories)
    matrix = dense(similarity) + np.diag(similarity.users / (similarity.users + 5))
    full = factorize(similarity, ITEMS)
    np.testing.assert_allclose(full @ full.T, matrix, atol=1e-4)
    few = factorize(similarity, 10)
    values, vectors = np.linalg.eigh(matrix)
    best = (vectors[:, -10:] * values[-10:]) @ vectors[:, -10:].T
    lost = [np.linalg.norm(matrix - near) for near in (few @ few.T, best)]
    assert lost[0] < 1.05 * lost[1]


def build_copy(backbone):
    """The same model again: a calibrated one takes it over."""
    copy = build_backbone(MODEL, ITEMS, seed=0)
    copy.load_state_dict(backbone.state_dict())
    return copy.eval()


def test_a_source_stays_only_if_it_is_worth_more_than_its_controls(world):
    _, (model, bias, noise, pairs), choices, _ = world
    same = replace(pairs, name="pairs, shuffled")
    useless = replace(noise, name="pairs, noise")
    controls = {"pairs": ["pairs, shuffled", "pairs, noise"]}
    found = calibrate(Design([model, bias, pairs, same, useless], choices), 0.01, controls)
    assert sorted(found.weights) == ["bias"]  # what its control says as well is not its own
    over = found.comparisons["pairs"].over_control
    assert over is not None and abs(over.value) < 1e-3 and found.comparisons["pairs"].nats.value > 0.05
    found = calibrate(Design([model, bias, pairs, useless], choices), 0.01, {"pairs": ["pairs, noise"]})
    assert sorted(found.weights) == ["bias", "pairs"] and found.comparisons["pairs"].over_control.value > 0.05
    assert found.comparisons["bias"].over_control is None
