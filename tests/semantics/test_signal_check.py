"""The signal check detects a planted meaning, and none if there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from eimf import schema
from eimf.data.eval_cases import EvalCases
from eimf.semantics.controls import CONTROLS
from eimf.semantics.people import people_of
from eimf.semantics.signal_check import (
    HISTORY,
    LLM,
    SourceAUC,
    _at_best_weight,
    auc_table,
    check_signal,
    mean_by_user,
    read_auc_table,
    signal_gain,
)
from eimf.semantics.supervision import Supervision
from eimf.semantics.text_vectors import user_text_blocks
from tests.meaning import TOPICS, USERS, planted_meaning
from tests.world import leave_one_out


@pytest.fixture(scope="module")
def world():
    return planted_meaning()


def test_planted_meaning_shows_and_its_controls_do_not(world):
    auc = {name: float(source.auc.mean()) for name, source in check_signal(*world, seed=0)[1].items()}
    assert set(auc) == {LLM, *CONTROLS, HISTORY}
    assert auc[LLM] > 0.9
    # The titles that the LLM read, and the user's own, are of another topic than the next item.
    assert auc["titles"] < 0.6
    assert auc[HISTORY] < 0.6
    assert auc["shuffled"] < 0.6
    assert abs(auc["random"] - 0.5) < 0.1


def test_only_what_the_history_does_not_say_is_added_to_it(world):
    auc_by_source = check_signal(*world, seed=0)[1]
    history = auc_by_source[HISTORY]
    assert torch.equal(history.auc_with_history, history.auc)
    added = {name: float(source.auc_with_history.mean()) for name, source in auc_by_source.items()}
    assert added[LLM] > added[HISTORY] + 0.3
    # The titles of the cluster are the history again; eight random vectors tell eight topics apart by chance a little.
    assert all(added[name] < added[HISTORY] + 0.1 for name in ("titles", "random", "cluster"))


def test_a_gain_is_a_mean_over_users_with_its_standard_error():
    history, both = torch.tensor([0.5, 0.5, 0.5]).double(), torch.tensor([0.6, 0.5, 0.7]).double()
    auc_by_source = {HISTORY: SourceAUC(history, history), LLM: SourceAUC(both, both)}
    assert signal_gain(auc_by_source) == pytest.approx((0.1, 0.1 / 3**0.5))
    one_user = {name: SourceAUC(source.auc[:1], source.auc_with_history[:1]) for name, source in auc_by_source.items()}
    assert signal_gain(one_user) == (0, 0)  # one user says nothing about the spread


def test_the_targets_of_a_user_count_as_one():
    history, both = torch.tensor([0.5, 0.1, 0.2]).double(), torch.tensor([0.6, 0.4, 0.9]).double()
    by_user = mean_by_user({HISTORY: SourceAUC(history, both)}, torch.tensor([7, 2, 7]))
    assert by_user[HISTORY].auc.tolist() == pytest.approx([0.1, (0.5 + 0.2) / 2])  # users 2 and 7
    assert by_user[HISTORY].auc_with_history.tolist() == pytest.approx([0.4, (0.6 + 0.9) / 2])


def test_held_out_users_are_in_the_cluster_that_is_nearest_to_their_history(world):
    """As user-split holds them out: half of the users without a training event, judged by the history of their case.
    Nothing changes, since their clusters are those of the topic that their titles have."""
    supervision, histories = world
    cases, held_out = histories.cases[schema.VALID], np.arange(USERS) % (2 * TOPICS) < TOPICS
    unseen = replace(histories, num_train=np.where(held_out, 0, histories.num_train))
    lost = replace(supervision, cluster=torch.where(torch.from_numpy(held_out), -1, supervision.cluster))
    people = people_of(lost, unseen, cases.user_idx, cases.history_end)
    (texts,) = (texts for _, texts in user_text_blocks(supervision.item_text_vectors, histories))
    assert torch.equal(people.texts, texts)
    assert torch.equal(people.cluster, supervision.cluster)
    auc = check_signal(lost, unseen, seed=0)[1]
    assert len(auc[LLM].auc) == USERS and auc[LLM].auc.mean() > 0.9 and auc[HISTORY].auc.mean() < 0.6
    # What comes after the history of a case changes nothing.
    item_idx = histories.item_idx.copy()
    item_idx[histories.offsets[1:] - 1] = item_idx[histories.offsets[1:] - 2] = 1
    again = people_of(lost, replace(unseen, item_idx=item_idx), cases.user_idx, cases.history_end)
    assert torch.equal(again.texts, people.texts) and torch.equal(again.cluster, people.cluster)


def test_the_table_gives_back_what_was_written(world):
    users, auc_by_source = check_signal(*world, seed=0)
    back_users, back = read_auc_table(auc_table(auc_by_source, users))
    assert back_users.tolist() == users.tolist() and back.keys() == auc_by_source.keys()
    for name, source in auc_by_source.items():
        assert torch.equal(back[name].auc, source.auc)
        assert torch.equal(back[name].auc_with_history, source.auc_with_history)


def test_every_relevant_item_of_every_validation_case_is_a_target(world):
    """User 0 without a case, user 1 with a case of one item and one of two, user 2 with one of two, all in the users'
    topics: rows in the order of the table."""
    supervision, histories = world
    item_idx = histories.cases[schema.VALID].item_idx
    in_topic = [int(item_idx[user]) for user in (1, 1 + TOPICS, 1 + 2 * TOPICS, 2, 2 + TOPICS)]
    cases = EvalCases(np.array([1, 1, 2]), np.array([4, 5, 4]), np.array([0, 1, 3, 5]), np.array(in_topic))
    users, auc_by_source = check_signal(supervision, replace(histories, cases={schema.VALID: cases}), seed=0)
    assert users.tolist() == [1, 1, 1, 2, 2]
    assert all(len(source.auc) == 5 for source in auc_by_source.values())
    assert auc_by_source[LLM].auc.min() > 0.8


def test_without_any_interest_no_user_is_sampled(world):
    supervision, histories = world
    nobody = replace(supervision, cluster=torch.full_like(supervision.cluster, -1))
    auc_by_source = check_signal(nobody, histories, seed=0)[1]
    assert auc_by_source.keys() == check_signal(*world, seed=0)[1].keys()
    assert all(not len(source.auc) for source in auc_by_source.values()) and signal_gain(auc_by_source) == (0, 0)


def test_at_most_max_targets_are_sampled(world):
    users, auc_by_source = check_signal(*world, seed=0, max_targets=USERS // 2)
    assert len(users) == USERS // 2 and len(users.unique()) == len(users)
    assert all(len(source.auc) == len(users) for source in auc_by_source.values())
    assert auc_by_source[LLM].auc.mean() > 0.9
    assert not torch.equal(users, check_signal(*world, seed=1, max_targets=USERS // 2)[0])


def test_one_cluster_has_nothing_to_shuffle(world):
    supervision, histories = world
    first = torch.where(torch.arange(TOPICS).unsqueeze(1) == 0, supervision.interest_id, -1)
    one = replace(supervision, interest_id=first, cluster=torch.zeros_like(supervision.cluster))
    assert set(check_signal(one, histories, seed=0)[1]) == {LLM, *CONTROLS, HISTORY} - {"shuffled"}


def test_the_weight_of_a_source_is_chosen_by_the_other_half():
    half = torch.tensor([True, True, False, False])
    auc_by_weight = torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    assert _at_best_weight(auc_by_weight, half).tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_items_that_a_user_has_had_do_not_count(world):
    # Worlds that differ in the text of one item: the AUC of a user who has it in training does not change.
    supervision, histories = world
    item = int(histories.item_idx[0])
    text = supervision.item_text_vectors.clone()
    text[item - 1] = supervision.interest_vectors[supervision.cluster[0], 0]
    changed = check_signal(replace(supervision, item_text_vectors=text), histories, seed=0)[1][LLM].auc
    row, event = histories.first_events(np.arange(histories.num_users), histories.num_train)
    had = torch.zeros(USERS, dtype=torch.bool)
    had[row[histories.item_idx[event] == item]] = True
    usual = check_signal(supervision, histories, seed=0)[1][LLM].auc
    assert torch.equal(changed[had], usual[had]) and not torch.equal(changed[~had], usual[~had])


def test_the_target_drawn_again_does_not_count():
    # Item 1 is what the interest says, user 0's next item, and two thirds of what the others had in training.
    item_idx = np.array([2, 1, 3] + 20 * [1, 1, 4, 3, 2])
    supervision = Supervision(
        torch.eye(4),
        torch.eye(4)[None, :1],
        torch.zeros(1, 1, dtype=torch.long),
        torch.zeros(21, dtype=torch.long),
        torch.full((21,), -1),
    )
    histories = leave_one_out(item_idx, np.array([0, 3, *range(8, 104, 5)]), 4)
    assert check_signal(supervision, histories, seed=0)[1][LLM].auc[0] == 1


def test_if_nothing_tells_items_apart_the_auc_is_one_half(world):
    supervision, histories = world
    same = replace(supervision, item_text_vectors=torch.ones_like(supervision.item_text_vectors))
    auc = check_signal(same, histories, seed=0)[1][LLM].auc
    assert torch.equal(auc, torch.full((USERS,), 0.5, dtype=torch.float64))


def test_users_without_supervision_are_left_out_and_a_seed_repeats(world):
    supervision, histories = world
    fewer = replace(supervision, cluster=torch.where(supervision.cluster == 0, -1, supervision.cluster))
    users, auc_by_source = check_signal(fewer, histories, seed=3)
    assert len(users) == USERS - USERS // TOPICS
    again = check_signal(fewer, histories, seed=3)[1]
    for name, source in auc_by_source.items():
        assert len(source.auc) == len(users)
        assert torch.equal(source.auc_with_history, again[name].auc_with_history)
