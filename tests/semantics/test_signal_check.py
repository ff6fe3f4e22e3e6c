"""The probe finds a meaning that was planted, and none where there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from eimf import schema
from eimf.data.eval_cases import EvalCases
from eimf.semantics.signal_check import (
    CONTROLS,
    HISTORY,
    SourceAUC,
    _other_half_decides,
    gain,
    probe,
    read_readings,
    readings_table,
)
from eimf.semantics.supervision import Supervision
from tests.meaning import TOPICS, USERS, planted_meaning


@pytest.fixture(scope="module")
def world():
    return planted_meaning()


def test_planted_meaning_shows_and_its_controls_do_not(world):
    found = {name: float(reading.alone.mean()) for name, reading in probe(*world, seed=0)[1].items()}
    assert set(found) == {"true", *CONTROLS, HISTORY}
    assert found["true"] > 0.9
    # The titles that the LLM read, and the user's own, are of another topic than the next item.
    assert found["titles"] < 0.6
    assert found[HISTORY] < 0.6
    assert found["shuffled"] < 0.6
    assert abs(found["random"] - 0.5) < 0.1


def test_only_what_the_history_does_not_say_is_added_to_it(world):
    found = probe(*world, seed=0)[1]
    history, added = found[HISTORY], {name: float(each.with_history.mean()) for name, each in found.items()}
    assert torch.equal(history.with_history, history.alone)
    assert added["true"] > added[HISTORY] + 0.3
    # The titles of the cluster are the history again; eight random vectors tell eight topics apart by chance a little.
    assert all(added[name] < added[HISTORY] + 0.1 for name in ("titles", "random", "cluster"))


def test_a_gain_is_a_mean_over_users_with_its_standard_error():
    history, both = torch.tensor([0.5, 0.5, 0.5]).double(), torch.tensor([0.6, 0.5, 0.7]).double()
    found = {HISTORY: SourceAUC(history, history), "true": SourceAUC(both, both)}
    assert gain(found, "true") == pytest.approx((0.1, 0.1 / 3**0.5))
    one = {name: SourceAUC(each.alone[:1], each.with_history[:1]) for name, each in found.items()}
    assert gain(one, "true") == (0, 0)  # one user says nothing of the spread


def test_readings_come_back_from_their_table(world):
    users, found = probe(*world, seed=0)
    back = read_readings(readings_table(found, users))
    assert back.keys() == found.keys()
    assert all(
        torch.equal(back[name].alone, found[name].alone)
        and torch.equal(back[name].with_history, found[name].with_history)
        for name in found
    )


def test_every_relevant_item_of_every_validation_case_is_read(world):
    """User 0 without a case, user 1 with a case of one item and one of two, user 2 with one of two, all in the users'
    topics: rows in the order of the table."""
    supervision, histories = world
    item_idx = histories.cases[schema.VALID].item_idx
    topic_of = [int(item_idx[user]) for user in (1, 1 + TOPICS, 1 + 2 * TOPICS, 2, 2 + TOPICS)]
    cases = EvalCases(np.array([1, 1, 2]), np.array([4, 5, 4]), np.array([0, 1, 3, 5]), np.array(topic_of))
    users, found = probe(supervision, replace(histories, cases={schema.VALID: cases}), seed=0)
    assert users.tolist() == [1, 1, 1, 2, 2]
    assert all(len(reading.alone) == 5 for reading in found.values())
    assert found["true"].alone.min() > 0.8


def test_without_any_interest_nothing_is_read(world):
    supervision, histories = world
    nobody = replace(supervision, cluster=torch.full_like(supervision.cluster, -1))
    found = probe(nobody, histories, seed=0)[1]
    assert found.keys() == probe(*world, seed=0)[1].keys()
    assert all(not len(reading.alone) for reading in found.values()) and gain(found, "true") == (0, 0)


def test_of_many_users_some_are_drawn(world):
    users, found = probe(*world, seed=0, most=USERS // 2)
    assert len(users) == USERS // 2 and len(users.unique()) == len(users)
    assert all(len(reading.alone) == len(users) for reading in found.values())
    assert found["true"].alone.mean() > 0.9
    assert not torch.equal(users, probe(*world, seed=1, most=USERS // 2)[0])


def test_one_cluster_has_nothing_to_shuffle(world):
    supervision, histories = world
    present = supervision.present.clone()
    present[1:] = False
    one = replace(supervision, present=present, cluster=torch.zeros_like(supervision.cluster))
    assert set(probe(one, histories, seed=0)[1]) == {"true", *CONTROLS, HISTORY} - {"shuffled"}


def test_the_weight_of_a_source_is_chosen_by_the_other_half():
    half = torch.tensor([True, True, False, False])
    mixed = torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    assert _other_half_decides(mixed, half).tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_items_that_a_user_has_had_do_not_count(world):
    # Worlds that differ in the text of one item: whoever has it in training reads the same.
    supervision, histories = world
    item = int(histories.item_idx[0])
    text = supervision.item_text.clone()
    text[item - 1] = supervision.semantics[supervision.cluster[0], 0]
    other = probe(replace(supervision, item_text=text), histories, seed=0)[1]["true"].alone
    row, event = histories.training_events()
    had = torch.zeros(USERS, dtype=torch.bool)
    had[row[histories.item_idx[event] == item]] = True
    here = probe(supervision, histories, seed=0)[1]["true"].alone
    assert torch.equal(other[had], here[had]) and not torch.equal(other[~had], here[~had])


def test_where_nothing_tells_items_apart_it_is_one_half(world):
    supervision, histories = world
    same = Supervision(
        torch.ones_like(supervision.item_text), supervision.semantics, supervision.present, supervision.cluster,
        supervision.last_read,
    )  # fmt: skip
    assert torch.equal(probe(same, histories, seed=0)[1]["true"].alone, torch.full((USERS,), 0.5, dtype=torch.float64))


def test_users_without_supervision_are_left_out_and_a_seed_repeats(world):
    supervision, histories = world
    fewer = Supervision(
        supervision.item_text, supervision.semantics, supervision.present,
        torch.where(supervision.cluster == 0, -1, supervision.cluster), supervision.last_read,
    )  # fmt: skip
    found = probe(fewer, histories, seed=3)[1]
    assert {len(part) for each in found.values() for part in (each.alone, each.with_history)} == {
        USERS - USERS // TOPICS
    }
    again = probe(fewer, histories, seed=3)[1]
    assert all(torch.equal(found[name].with_history, again[name].with_history) for name in found)
