"""What is proposed and pruned is a function of the plan and of the trials before."""

import pickle

import pytest

from pipeline.search.proposals import Pruning, propose
from tests.pipeline.search.plans import EPOCHS, curve, finished, method, search

pytest.importorskip("optuna")
VALUES = {"train.lr": 1e-3, "model.width": 32, "model.dropout": 0}
WORSE = {**VALUES, "model.width": 64}


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_search_continued_from_any_trial_ends_as_an_uninterrupted_one(pruner):
    """Also if of a batch the later trial is finished and the earlier one is not."""
    asked = method(pruner=pruner, batch=3)
    whole = search(asked, 9)
    assert {trial.state for trial in whole} == {"complete", "pruned"}
    assert search(asked, 9, tuple(whole[:4])) == whole
    assert search(asked, 9, (*whole[:6], whole[7])) == whole
    assert search(asked, 5) == whole[:5]  # so more trials continue it
    assert search(method(pruner=pruner, batch=3, seed=2), 3) != whole[:3]


def test_values_are_in_the_space_and_a_choice_is_itself():
    for sampler in ("tpe", "random"):
        values = [trial.values for trial in search(method(sampler=sampler), 8)]
        assert all(1e-4 <= one["train.lr"] <= 1e-2 and one["model.width"] in range(8, 65, 8) for one in values)
        assert {one["model.dropout"] for one in values} == {0, 0.5}
        assert len({str(one) for one in values}) > 4


def test_what_tpe_proposes_depends_on_the_results():
    few = search(method(), 4)
    numbers = range(4, 6)
    reversed_results = [
        trial.model_copy(update={"value": 1 - (trial.value or 0), "state": "complete"}) for trial in few
    ]
    assert propose(method(), few, {}, numbers) != propose(method(), reversed_results, {}, numbers)
    drawn = method(sampler="random")
    assert propose(drawn, few, {}, numbers) == propose(drawn, reversed_results, {}, numbers)


def test_median_prunes_below_half_of_the_trials_before():
    """Two trials with 1 / (1 + .01) x epoch / 9, then one with a fifth of it."""
    asked = method(unpruned_epochs=2)
    before = [finished(number, VALUES, None) for number in range(2)]
    batch = [WORSE, VALUES, WORSE]
    bad, good, like_bad = (Pruning(asked, before, batch, position) for position in range(3))
    assert bad.after(curve(WORSE)[:1]) is None  # not in the first of two epochs
    assert bad.after(curve(WORSE)[:2]) == 2
    assert good.after(curve(VALUES)[:-1]) is None
    assert pickle.loads(pickle.dumps(like_bad)).after(curve(WORSE)[:-1]) == 2  # noqa: S301  it is sent to a process
    assert Pruning(asked, before[:1], batch, 0).after(curve(WORSE)[:-1]) is None  # one of the first two trials


def test_hyperband_ends_at_its_rungs():
    """With 9 epochs and a third at each rung, these are after 1 and 3 epochs, by bracket."""
    trials = search(method(pruner="hyperband", sampler="random", batch=8), 24)
    assert {len(trial.valid) for trial in trials} == {1, 3, EPOCHS}


def test_a_failed_trial_counts_as_the_worst():
    """The best of four as if it had failed: what is proposed next is not like it any more."""
    few = search(method(sampler="random"), 4)
    best = max(few, key=lambda trial: trial.value or 0).number
    failed = few[best].model_copy(update={"state": "failed", "valid": [], "value": None})
    after = propose(method(), [failed if trial.number == best else trial for trial in few], {}, range(4, 6))
    assert after != propose(method(), few, {}, range(4, 6)) and len(after) == 2
