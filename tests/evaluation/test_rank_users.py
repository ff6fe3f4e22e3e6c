"""Cases of any number a user and any number of relevant items: ranks and metrics equal a loop over sorted lists."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf import schema
from eimf.backbones.build import build_backbone
from eimf.config import ModelSettings
from eimf.data.eval_cases import EvalCases
from eimf.data.histories import Histories
from eimf.errors import DataError
from eimf.evaluation.eval_batches import eval_batches
from eimf.evaluation.rank_users import case_metric, metrics_table, rank_users, ranks_table, slices, table_metric
from eimf.metrics import PER_CASE
from tests.strategies import any_histories

ITEMS, LENGTH = 12, 4
# Users' events, how many of them are for training, and their cases: end of the history, relevant items. User 1 has no
# case; users 3 and 4 are held out, without a training event; items 11 and 12 have no event.
USERS = [
    ([1, 2, 3, 4, 5, 6], 3, [(3, [4]), (4, [5, 6]), (5, [6, 1, 12])]),
    ([2, 2, 7], 3, []),
    ([9, 8, 7, 6, 5], 2, [(2, [7, 6, 5])]),
    ([3, 1], 0, [(1, [1])]),
    ([10, 4, 6, 10, 2, 2, 1], 0, [(3, [10, 4]), (6, [1]), (5, [11, 2])]),
]
CASES = [(user, end, items) for user, (_, _, cases) in enumerate(USERS) for end, items in cases]


@pytest.fixture(scope="module")
def histories() -> Histories:
    offsets = np.concatenate([[0], np.cumsum([len(events) for events, _, _ in USERS])])
    cases = EvalCases(
        np.array([user for user, _, _ in CASES]),
        np.array([end for _, end, _ in CASES]),
        np.concatenate([[0], np.cumsum([len(items) for _, _, items in CASES])]),
        np.array([item for _, _, items in CASES for item in items]),
    )
    item_idx = np.array([item for events, _, _ in USERS for item in events])
    num_train = np.array([count for _, count, _ in USERS])
    return Histories(item_idx, offsets, num_train, ITEMS, cases={schema.TEST: cases})


@pytest.fixture(scope="module", params=["sasrec", "comirec-sa"])
def backbone(request):
    model = build_backbone(ModelSettings(backbone=request.param, width=8, max_length=LENGTH), ITEMS, seed=3).eval()
    with torch.no_grad():
        model.item_table.weight.mul_(30)  # so that no two scores are nearly equal
    return model


def ranked_list(backbone, case: tuple[int, int, list[int]], keep_seen: bool) -> list[int]:
    """All items that may be recommended, best first."""
    user, end, _ = case
    history = USERS[user][0][:end]
    recent = torch.tensor([history[-LENGTH:]])
    with torch.no_grad():
        interests = backbone.interests(recent, torch.tensor([recent.shape[1]]))[0]
        score = {item: float((interests @ backbone.item_table.weight[item]).max()) for item in range(1, ITEMS + 1)}
    return sorted((item for item in score if keep_seen or item not in history), key=lambda item: -score[item])


def by_hand(name: str, ranking: list[int], relevant: list[int], k: int) -> float:
    hits = [rank for rank, item in enumerate(ranking[:k], 1) if item in relevant]
    if name == "recall":
        return len(hits) / len(relevant)
    if name == "hit_rate":
        return float(len(hits) > 0)
    if name == "mrr":
        return 1 / hits[0] if hits else 0.0
    ideal = range(1, min(k, len(relevant)) + 1)
    return sum(1 / math.log2(rank + 1) for rank in hits) / sum(1 / math.log2(rank + 1) for rank in ideal)


@pytest.mark.parametrize("block", [1, 3, 100])
@pytest.mark.parametrize("keep_seen", [True, False])
def test_ranks_exposure_and_metrics_equal_a_loop_over_cases(backbone, histories, keep_seen, block):
    ranking = rank_users(
        backbone, histories, schema.TEST, max_length=LENGTH, keep_seen=keep_seen, batch_size=block, cutoffs=(2, 5)
    )
    lists = [ranked_list(backbone, case, keep_seen) for case in CASES]
    rows = ranks_table(ranking).to_pylist()
    assert rows == [
        {
            "case": number,
            "user_idx": user,
            "item_idx": item,
            "rank": ranked.index(item) + 1 if item in ranked else schema.NEVER,
        }
        for number, ((user, _, items), ranked) in enumerate(zip(CASES, lists, strict=True))
        for item in items
    ]
    for k, exposure in ranking.exposure.items():
        assert exposure.tolist() == [sum(item in ranked[:k] for ranked in lists) for item in range(1, ITEMS + 1)]
    table = {
        (row["metric"], row["k"], row["slice"]): row for row in metrics_table(ranking, histories, (2, 5)).to_pylist()
    }
    groups = slices(ranking, histories)
    for k in (2, 5):
        for name in PER_CASE:
            wanted = [by_hand(name, ranked, items, k) for (_, _, items), ranked in zip(CASES, lists, strict=True)]
            assert case_metric(ranking, name, k).tolist() == pytest.approx(wanted)
            assert table_metric(ranks_table(ranking), name, k).tolist() == pytest.approx(wanted)
            assert table[name, k, "all"]["value"] == pytest.approx(sum(wanted) / len(CASES))
            for label, chosen in groups.items():
                rest = iter(chosen.tolist())  # a slice has the relevant items that are chosen, and their cases
                parts = [
                    ([item for item in items if next(rest)], ranked)
                    for (_, _, items), ranked in zip(CASES, lists, strict=True)
                ]
                values = [by_hand(name, ranked, items, k) for items, ranked in parts if items]
                row = table[name, k, label]
                assert row["cases"] == len(values)
                assert row["value"] == (pytest.approx(sum(values) / len(values)) if values else None)


def test_slices_are_of_relevant_items(backbone, histories):
    ranking = rank_users(backbone, histories, schema.TEST, max_length=LENGTH, keep_seen=True, batch_size=9)
    groups = slices(ranking, histories)
    relevant = [(user, end, item) for user, end, items in CASES for item in items]
    assert groups["repeated target"].tolist() == [item in USERS[user][0][:end] for user, end, item in relevant]
    # Ends 3, 4, 5, 2, 1, 3, 6, 5: their median is 3.5. A fifth of 12 items are 2: in
    # training item 2 occurs three times, and item 1 is the first of those that occur once.
    assert groups["long history"].tolist() == [end > 3.5 for _, end, _ in relevant]
    assert groups["head target"].tolist() == [item in (1, 2) for _, _, item in relevant]
    trained = {item for events, count, _ in USERS for item in events[:count]}
    assert groups["cold target"].tolist() == [item not in trained for _, _, item in relevant]


@pytest.mark.parametrize("block", [1, 2, 3, 4, 100])
def test_batches_hold_every_case_once_with_its_whole_history(histories, block):
    cases, seen = histories.cases[schema.TEST], []
    for batch in eval_batches(histories, cases, LENGTH, block, positions=8):
        assert len(batch.case) == 1 or len(batch.relevant) <= block
        assert len(batch.case) == 1 or batch.item_idx.numel() <= 8
        for row, number in enumerate(batch.case.tolist()):
            user, end, items = CASES[number]
            history = USERS[user][0][:end]
            assert batch.item_idx[row, : batch.lengths[row]].tolist() == history[-LENGTH:]
            assert not batch.item_idx[row, batch.lengths[row] :].any()
            assert batch.history_item_idx[batch.history_row == row].tolist() == history
            assert batch.relevant_item_idx[batch.case_row == row].tolist() == items
            assert torch.equal(batch.relevant_item_idx, torch.from_numpy(cases.item_idx)[batch.relevant])
            seen.append(number)
    assert sorted(seen) == list(range(len(CASES)))


@settings(max_examples=40)
@given(any_histories(), st.integers(1, 8), st.integers(1, 4), st.integers(1, 30), st.data())
def test_every_user_is_asked_for_once_from_all_that_came_before(histories, max_length, block, positions, data):
    split = data.draw(st.sampled_from([schema.VALID, schema.TEST]))
    users = []
    for batch in eval_batches(histories, histories.cases[split], max_length, block, positions):
        assert len(batch.case) <= block and (batch.item_idx.numel() <= positions or len(batch.case) == 1)
        for row, user in enumerate(histories.cases[split].user_idx[batch.case.numpy()].tolist()):
            begin = histories.offsets[user]
            past = histories.item_idx[begin : begin + histories.num_train[user] + (split == schema.TEST)].tolist()
            shown = past[-max_length:]
            assert batch.item_idx[row].tolist() == shown + [0] * (batch.item_idx.shape[1] - len(shown))
            assert int(batch.lengths[row]) == len(shown)
            assert batch.relevant_item_idx[batch.case_row == row].tolist() == [histories.item_idx[begin + len(past)]]
            assert batch.history_item_idx[batch.history_row == row].tolist() == past
            users.append(user)
    assert sorted(users) == list(range(histories.num_users))


def test_a_split_without_a_case_is_refused(backbone, histories):
    with pytest.raises(DataError, match="eval_cases: the split 'valid' has no case"):
        rank_users(backbone, histories, schema.VALID, max_length=LENGTH, keep_seen=True, batch_size=9)
