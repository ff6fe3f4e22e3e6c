"""Cold start in a planted world: every person has one interest, every interest a name, and what is recent changes.

The items of a group have the group's vector and text. A tower that averages item vectors knows a person's group after
one event; without events only a name can tell it.
"""

from dataclasses import replace

import numpy as np
import pytest

from eimf import schema
from eimf.choice.item_statistics import item_scores
from eimf.config import SplitSettings
from eimf.data.split import split_events
from eimf.export.cold_start import (
    BuiltColdStart,
    Texts,
    _is_better,
    build_cold_start,
    fit_weights,
    one_step_earlier,
    texts_of,
)
from eimf.export.cold_start_design import Design, Model
from eimf.export.phrases import Phrases
from eimf.export.simulated import HALF, cut_cases, mean_texts, pick_names
from eimf.export.user_means import FOLDS, PickedNames
from eimf.serving.cold_start import MANY, ColdStart, ColdStartWeights
from eimf.vectors import normalize
from tests.world import leave_one_out

GROUPS, SIZE, USERS = 6, 12, 240
GROUP = np.arange(GROUPS * SIZE) // SIZE
"""Group of items 1, 2, ..."""


class AverageTower:
    """The mean of the item vectors of a history, [B, 1, D]."""

    uses_timestamps = False

    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    def interests(self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None) -> np.ndarray:
        return (self.table[item_idx].sum(axis=1) / lengths[:, None])[:, None].astype(np.float32)


def planted(seed: int = 0, *, has_groups: bool = True) -> Model:
    """Users with five to eight events, all of the group user % GROUPS; without groups, of any."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, 9, USERS)
    rows = [
        rng.choice(SIZE, length, replace=False) + user % GROUPS * SIZE + 1
        if has_groups
        else rng.choice(GROUPS * SIZE, length, replace=False) + 1
        for user, length in enumerate(lengths)
    ]
    histories = leave_one_out(np.concatenate(rows), np.concatenate([[0], np.cumsum(lengths)]), GROUPS * SIZE)
    table = np.concatenate([np.zeros((1, 8)), np.eye(8)[GROUP] * 3 + rng.normal(size=(GROUPS * SIZE, 8)) * 0.1])
    table = table.astype(np.float32)
    return Model(AverageTower(table), table, histories, max_length=10, keep_seen=False)


def texts(seed: int = 1) -> Texts:
    rng = np.random.default_rng(seed)
    items = normalize(np.eye(GROUPS)[GROUP] + rng.normal(size=(GROUPS * SIZE, GROUPS)) * 0.1)
    return Texts(items, np.eye(GROUPS, dtype=np.float32), list(range(GROUPS)))


@pytest.fixture(scope="module")
def model() -> Model:
    return planted()


@pytest.fixture(scope="module")
def built(model):
    return build_cold_start(model, texts())


def served(built, model) -> ColdStart:
    return ColdStart(built.weights, built.item_scores, built.user_means, model.item_vectors)


def test_a_name_brings_the_items_of_its_group_and_a_wrong_one_those_of_another(built, model):
    cold = served(built, model)
    for label in range(GROUPS):
        best = np.argsort(-cold.scores([label], None, 0))[:SIZE]
        assert (GROUP[best] == label).mean() > 0.9
    test = cut_cases(model.histories, schema.TEST, 0)
    people = mean_texts(test.hidden_item_idx, test.hidden_case, len(test), texts().items)
    picks = pick_names(people, texts().labels, np.arange(GROUPS), 1)[:, 0]
    assert (picks == test.user_idx % GROUPS).all()  # people know what they like
    right, wrong = np.zeros(2), np.arange(GROUPS) - 1
    for label, target in zip(picks, test.target, strict=True):
        for place, named in enumerate((label, wrong[label])):
            right[place] += target - 1 in np.argsort(-cold.scores([named], None, 0))[:SIZE]
    assert right[0] > 0.9 * len(test) and right[1] < 0.1 * len(test)


@pytest.mark.parametrize("shown", [0, 2])
def test_what_is_fitted_is_what_is_served(built, model, shown):
    cases = cut_cases(model.histories, schema.TEST, shown)
    names = built.user_means[1:][np.arange(len(cases)) % GROUPS]
    design = Design(model, built.item_scores, built.user_means[0], cases, names)
    weights = np.array(list(built.weights.named[shown].model_dump().values()))
    total = next(design.blocks(np.arange(5))()).total(weights)
    for case in range(5):
        begin = cases.begin[case]
        interests = model.interests(np.array([begin]), np.array([shown]))[0] if shown else None
        scores = served(built, model).scores([case % GROUPS], interests, shown)
        left = np.isfinite(total[case])
        assert (~left).sum() == shown  # what was shown is left out
        np.testing.assert_allclose(total[case][left], scores[left], rtol=1e-4, atol=1e-4)


def test_figures_are_of_validation_and_never_below_the_start(built):
    assert built.figures.keys() == {"0", "unnamed", "1", "2", "3"}  # nobody has 8 events before the validation event
    assert all(figure["fitted"] >= figure["start"] for figure in built.figures.values())
    assert built.figures["0"]["fitted"] > 2 * built.figures["0"]["start"]
    assert built.weights.named[MANY] == ColdStartWeights(history=1.0)


def test_under_user_split_it_is_fitted_on_validation_users_and_reads_nothing_of_test_users(model):
    def fitted(item_idx: np.ndarray) -> BuiltColdStart:
        histories = model.histories
        settings = SplitSettings(protocol="user-split", valid_share=0.3, test_share=0.2)
        split = split_events(
            item_idx, histories.offsets, settings, times=None, given=None, first_row=np.arange(histories.num_users)
        )
        held_out = replace(histories, item_idx=item_idx, num_train=split.num_train, cases=split.cases)
        return build_cold_start(replace(model, histories=held_out), texts())

    usual = fitted(model.histories.item_idx)
    assert usual.figures["0"]["fitted"] > 2 * usual.figures["0"]["start"]  # held-out people have names to pick, too
    test = np.random.default_rng(SplitSettings().seed).permutation(USERS)[round(0.8 * USERS) :]
    of_test = np.isin(np.repeat(np.arange(USERS), np.diff(model.histories.offsets)), test)
    other = np.where(of_test, model.histories.item_idx % (GROUPS * SIZE) + 1, model.histories.item_idx)
    changed = fitted(other)
    assert changed.weights == usual.weights and changed.figures == usual.figures
    np.testing.assert_array_equal(changed.item_scores, usual.item_scores)
    np.testing.assert_array_equal(changed.user_means, usual.user_means)


class Oracle:
    """Knows what follows after two events."""

    uses_timestamps = False

    def __init__(self, after: dict[tuple[int, ...], int], size: int) -> None:
        self.after, self.vectors = after, np.eye(size, dtype=np.float32)

    def interests(self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None) -> np.ndarray:
        return self.vectors[[self.after[tuple(row)] for row in item_idx.tolist()]][:, None]


def test_a_mix_that_ranks_worse_does_not_stay(model):
    cases, size = cut_cases(model.histories, schema.VALID, 2), GROUPS * SIZE + 1
    shown = model.histories.item_idx[cases.begin[:, None] + [0, 1]].tolist()
    oracle = Oracle(dict(zip(map(tuple, shown), cases.target.tolist(), strict=True)), size)
    rng, start = np.random.default_rng(0), ColdStartWeights(history=1.0)
    names, items = rng.normal(size=(len(cases), size)), rng.normal(size=(size - 1, 3))
    knowing = replace(model, tower=oracle, item_vectors=oracle.vectors)
    weights, figures = fit_weights(Design(knowing, items, oracle.vectors[0], cases, names), start)
    assert weights == start and figures["fitted"] == figures["start"] > 0.9


def test_without_groups_names_do_no_harm():
    model = planted(has_groups=False)
    built = build_cold_start(model, texts())
    assert all(figure["fitted"] >= figure["start"] for figure in built.figures.values())


def test_without_labels_or_validation_there_are_answers(model):
    built = build_cold_start(model, None)
    assert built.user_means.shape == (1, 8) and not any(weights.names for weights in built.weights.named)
    assert np.isfinite(served(built, model).scores([], None, 0)).all()
    bare = replace(model, histories=replace(model.histories, cases={}))
    built = build_cold_start(bare, texts())
    assert built.weights.unnamed == ColdStartWeights(recent=1.0) and built.figures == {}
    nobody = np.zeros(USERS, np.int64)
    empty = replace(model, histories=replace(model.histories, num_train=nobody, cases={}))
    assert np.isfinite(build_cold_start(empty, texts()).user_means).all()


def test_what_is_shown_is_not_hidden_and_the_target_is_neither(model):
    histories = model.histories
    for split, shown, first in [(schema.TEST, 2, False), (schema.TEST, 2, True), (schema.VALID, 3, False)]:
        cases = cut_cases(histories, split, shown, first=first)
        for case in range(0, len(cases), 37):
            begin = cases.begin[case]
            seen = histories.item_idx[begin : begin + cases.length[case]]
            hidden = cases.hidden_item_idx[cases.hidden_case == case]
            user = cases.user_idx[case]
            start, trained = histories.offsets[user], histories.num_train[user]
            training = histories.item_idx[start : start + trained]
            assert len(seen) == shown and cases.target[case] not in [*seen, *hidden]
            assert set(hidden) == set(training) - set(seen)
    assert len(cut_cases(histories, schema.TEST, HALF)) < len(cut_cases(histories, schema.TEST, 3)) == USERS
    some = cut_cases(histories, schema.TEST, 1, max_scores=-(-USERS * histories.num_items // 7))  # every seventh
    assert len(some) == -(-USERS // 7) and some.hidden_case.max() == len(some) - 1


def test_one_step_earlier_hides_the_last_training_event_of_everybody(model):
    earlier = one_step_earlier(model.histories)
    valid, test = (cut_cases(each, split, 0) for each, split in ((earlier, "valid"), (model.histories, "test")))
    events_per_user = model.histories.num_train
    assert len(valid.hidden_case) == (events_per_user - 1).sum() and len(test.hidden_case) == events_per_user.sum()
    assert item_scores(earlier).shape == (GROUPS * SIZE, 3) and set(earlier.cases) == {schema.VALID}


def test_names_share_the_credit_by_ridge_regression():
    rng = np.random.default_rng(0)
    people, names, vectors = (normalize(rng.normal(size=(count, 4))) for count in (50, 6, 50))
    picked = PickedNames(np.arange(50), vectors, people, names, list(range(6)))
    picks = np.argsort(-(people @ names.T), axis=1)[:, :2]
    chosen = np.zeros((50, 6))
    np.put_along_axis(chosen, picks, 1 / 2, axis=1)
    rest = vectors - vectors.mean(axis=0)
    # Two menus: the one of 6 and all labels, which are the same.
    wanted = np.linalg.solve(2 * chosen.T @ chosen + 5 * np.eye(6), 2 * chosen.T @ rest)
    np.testing.assert_allclose(picked.table()[1:], wanted, atol=1e-5)
    others = np.arange(50) % FOLDS != 2
    wanted = np.linalg.solve(2 * chosen[others].T @ chosen[others] + 5 * np.eye(6), 2 * chosen[others].T @ rest[others])
    np.testing.assert_allclose(picked.fold_tables()[2], wanted, atol=1e-5)


def test_a_label_has_the_mean_text_of_its_phrases(model):
    vectors = normalize(np.random.default_rng(0).normal(size=(4, GROUPS)))
    phrases = Phrases(np.array([3, 5, 7, 9]), ["a", "b", "c", "d"], [[1]] * 4, vectors)
    built = texts_of(model.histories, texts().items, phrases, [[5, 9], [3]])
    raw = normalize(np.stack([vectors[[1, 3]].mean(axis=0), vectors[0]]))
    expected = texts_of(model.histories, texts().items, Phrases(np.arange(2), ["x", "y"], [[1]] * 2, raw), [[0], [1]])
    np.testing.assert_allclose(built.labels, expected.labels, atol=1e-6)
    assert set(built.menu) <= {0, 1}


def test_one_standard_error_decides():
    hit, reference = np.eye(8), np.zeros(8)
    # Two hits of 8: mean 1/4, variance (2 - 8/16) / 7 = 3/14, standard error sqrt(3/112) < 1/4.
    assert _is_better(hit[0] + hit[1], reference)
    # Less one: mean 1/8, variance (3 - 8/64) / 7 = 23/56, standard error sqrt(23/448) > 1/8.
    assert not _is_better(hit[0] + hit[1] - hit[2], reference)
    assert not _is_better(reference, reference) and not _is_better(reference, hit[0])
    # Paired: what both have in common counts for nothing.
    common = np.random.default_rng(0).normal(size=8) * 100
    assert _is_better(common + 0.01, common)


class CalibratedTower:
    """The mean of the items' own vectors, then of their further coordinates, then 1."""

    uses_timestamps = False

    def __init__(self, table: np.ndarray) -> None:
        self.mean = AverageTower(table)

    def interests(self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None) -> np.ndarray:
        interests = self.mean.interests(item_idx, lengths, times)
        interests[..., -1] = 1
        return interests


def with_bias(model: Model, bias: np.ndarray) -> Model:
    """The model, calibrated: two further coordinates say the group, and each item has a bias."""
    further = np.stack([GROUP == 0, GROUP == 1, bias], axis=1)
    table = np.concatenate([model.item_vectors, np.vstack([np.zeros(3), further])], axis=1).astype(np.float32)
    return replace(model, tower=CalibratedTower(table), item_vectors=table, base_width=8)


def test_the_bias_of_a_calibrated_item_counts_once_in_the_models_own_score_and_nowhere_else(model):
    bias = np.random.default_rng(4).normal(size=GROUPS * SIZE).astype(np.float32)
    calibrated = with_bias(model, bias)
    built = build_cold_start(calibrated, texts())
    assert (built.user_means[:, -1] == 0).all() and built.user_means[:, 8:10].any()
    (interests,) = calibrated.interests(np.array([0]), np.array([2]))
    weights = ColdStartWeights(recent=0.3, average=0.7, names=2.0, history=0.5)
    part = built.weights.model_copy(update={"named": (weights,) * (MANY + 1)})
    biased, unbiased = (
        ColdStart(part, built.item_scores, built.user_means, each.item_vectors)
        for each in (calibrated, with_bias(model, 0 * bias))
    )
    for picked, shown, factor in (([1], interests, 0.5), ([1], None, 0), ([], interests, 1), ([], None, 0)):
        difference = biased.scores(picked, shown, 2) - unbiased.scores(picked, shown, 2)
        np.testing.assert_allclose(difference, factor * bias, atol=1e-5)
    np.testing.assert_allclose(
        biased.scores([], interests, 2), calibrated.item_vectors[1:] @ interests[0], rtol=1e-6, atol=1e-6
    )


def test_what_is_fitted_for_a_calibrated_model_is_what_is_served(model):
    calibrated = with_bias(model, np.random.default_rng(4).normal(size=GROUPS * SIZE))
    built = build_cold_start(calibrated, texts())
    test_what_is_fitted_is_what_is_served(built, calibrated, 2)
    test_a_name_brings_the_items_of_its_group_and_a_wrong_one_those_of_another(built, calibrated)
