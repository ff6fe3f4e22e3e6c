import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf import retrieval, schema
from eimf.backbones.build import build_backbone
from eimf.config import ModelSettings
from eimf.data.histories import Histories
from eimf.evaluation.rank_users import case_metric, mean_metric, metrics_table, rank_users, slices
from eimf.retrieval import Exclude, nearest_rows, rank
from tests import world as planted


def model(items: int, backbone: str = "comirec-sa"):
    return build_backbone(ModelSettings(backbone=backbone, width=8, max_length=6), items, seed=0).eval()  # type: ignore[arg-type]


def brute_force(backbone, histories: Histories, user: int, split: str, keep_seen: bool) -> int:
    """Rank of one user's held-out item (leave-one-out) by sorting every item's score."""
    begin = int(histories.offsets[user])
    known = int(histories.num_train[user]) + (split == schema.TEST)
    past = histories.item_idx[begin : begin + known].tolist()
    target = int(histories.item_idx[begin + known])
    with torch.no_grad():
        recent = torch.tensor([past[-6:]])
        interests = backbone.interests(recent, torch.tensor([len(past[-6:])]))[0]
        score = {
            item: float((interests @ backbone.item_table.weight[item]).max())
            for item in range(1, histories.num_items + 1)
        }
    if not keep_seen and target in past:
        return schema.NEVER
    rivals = [item for item in score if item != target and (keep_seen or item not in past)]
    return 1 + sum(score[item] >= score[target] for item in rivals)


@pytest.mark.parametrize("threads", [1, 3], indirect=True)
def test_ranks_equal_brute_force_on_both_splits_with_and_without_seen_items(threads):
    histories = planted.histories(planted.world(users=12))
    backbone = model(histories.num_items)
    for split in (schema.VALID, schema.TEST):
        for keep_seen in (True, False):
            ranks = rank_users(
                backbone, histories, split, max_length=6, keep_seen=keep_seen, batch_size=5
            ).ranks.tolist()
            assert ranks == [brute_force(backbone, histories, user, split, keep_seen) for user in range(12)]


def test_scores_are_the_best_over_interests_and_excluded_items_are_left_out():
    interests = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    items = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, -1.0]])  # scores 3, 2, -1
    result = [rank(interests, items, torch.tensor([item]), top=3) for item in (1, 2, 3)]
    assert [int(each.rank) for each in result] == [1, 2, 3]
    assert result[0].top_item_idx.tolist() == [[1, 2, 3]]
    without = rank(interests, items, torch.tensor([2]), Exclude(torch.tensor([0]), torch.tensor([1])), top=1)
    assert without.rank.tolist() == [1] and without.top_item_idx.tolist() == [[2]]
    # Of three places two have something to show.
    few = rank(interests, items, torch.tensor([2]), Exclude(torch.tensor([0]), torch.tensor([1])), top=3)
    assert few.top_item_idx.tolist() == [[2, 3, 0]]


def test_seen_items_are_not_recommended():
    histories = planted.histories(planted.world(users=12))
    backbone, everything = model(histories.num_items), histories.num_items
    options = {"max_length": 6, "batch_size": 5, "cutoffs": (everything,)}
    kept, filtered = (
        rank_users(backbone, histories, schema.TEST, keep_seen=value, **options).exposure[everything]
        for value in (True, False)
    )
    assert kept.tolist() == [12] * everything
    item, users = histories.item_idx, np.repeat(np.arange(12), np.diff(histories.offsets))
    last = histories.offsets[1:] - 1
    shown = np.full((12, everything + 1), 1)
    before = np.delete(np.arange(len(item)), last)
    shown[users[before], item[before]] = 0
    assert filtered.tolist() == shown[:, 1:].sum(axis=0).tolist()


@pytest.mark.parametrize("block", [2**6, 2**20])
def test_blocks_of_items_equal_one_sort_of_all_scores(monkeypatch: pytest.MonkeyPatch, block: int):
    """1,000 items are four blocks with the smaller setting, whose least is 256 items, and one with the larger."""
    monkeypatch.setattr(retrieval, "_CPU_BLOCK", block)
    torch.manual_seed(0)
    interests, items, target = torch.randn(20, 3, 8), torch.randn(1000, 8), torch.randint(1, 1001, (20,))
    rows, seen = torch.arange(20).repeat_interleave(30), torch.randint(1, 1001, (600,))
    other = seen != target[rows]
    result = rank(interests, items, target, Exclude(rows[other], seen[other]), top=40)
    scores = (interests.double() @ items.double().T).amax(dim=1)
    scores[rows[other], seen[other] - 1] = -torch.inf
    own = scores.gather(1, (target - 1).unsqueeze(1))
    assert result.rank.tolist() == (scores >= own).sum(dim=1).tolist()
    assert result.top_item_idx.tolist() == (scores.topk(40).indices + 1).tolist()


@pytest.mark.parametrize("block", [2**6, 2**20])
def test_several_relevant_items_of_a_query_rank_as_they_would_alone(monkeypatch: pytest.MonkeyPatch, block: int):
    """Queries with none to four relevant items, some of them excluded, against a query for each item."""
    monkeypatch.setattr(retrieval, "_CPU_BLOCK", block)
    torch.manual_seed(0)
    interests, table = torch.randn(10, 3, 8), torch.randn(1000, 8)
    query = torch.arange(10).repeat_interleave(torch.arange(10) % 5)
    item_idx = torch.randint(1, 1001, (len(query),))
    exclude = Exclude(
        torch.cat([query[::3], torch.arange(10).repeat_interleave(30)]),
        torch.cat([item_idx[::3], torch.randint(1, 1001, (300,))]),
    )
    together = rank(interests, table, item_idx, exclude, query=query, top=5)
    for relevant, number in enumerate(query.tolist()):
        mine = exclude.query == number
        only = Exclude(torch.zeros(int(mine.sum()), dtype=torch.int64), exclude.item_idx[mine])
        alone = rank(interests[[number]], table, item_idx[[relevant]], only, top=5)
        assert together.rank[relevant] == alone.rank[0]
        assert together.top_item_idx[number].tolist() == alone.top_item_idx[0].tolist()
    assert (together.rank == schema.NEVER).tolist()[::3] == [True] * len(query[::3])


@pytest.mark.parametrize("users", [1, 7, 64])
@pytest.mark.parametrize("items", [5, 1000])
def test_ties_count_against_the_target(users: int, items: int):
    """Whatever order a product of some shape sums in: items with one vector rank last, every one of them."""
    torch.manual_seed(0)
    alike = torch.randn(1, 64).expand(items, -1).contiguous()
    result = rank(torch.randn(users, 2, 64), alike, torch.randint(1, items + 1, (users,)))
    assert result.rank.tolist() == [items] * users


@pytest.mark.parametrize("block", [2**6, 2**20])
def test_no_target_ranks_above_the_first_place(monkeypatch: pytest.MonkeyPatch, block: int):
    """Long sums of positive products, whose rounding is past what counts as a tie."""
    monkeypatch.setattr(retrieval, "_CPU_BLOCK", block)
    torch.manual_seed(0)
    items = torch.rand(600, 8192) + torch.eye(600, 8192) * 50
    assert rank(items.unsqueeze(1), items, torch.arange(1, 601)).rank.tolist() == [1] * 600


@settings(max_examples=100)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 12), st.data())
def test_ranks_are_those_of_a_plain_sort(queries, interest_count, width, num_items, data):
    def drawn(*shape: int) -> torch.Tensor:
        flat = data.draw(st.lists(st.integers(-3, 3), min_size=math.prod(shape), max_size=math.prod(shape)))
        return torch.tensor(flat, dtype=torch.float32).view(shape)

    interests, table = drawn(queries, interest_count, width), drawn(num_items, width)  # whole numbers: many ties
    items = st.integers(1, num_items)
    target = torch.tensor(data.draw(st.lists(items, min_size=queries, max_size=queries)))
    pairs = data.draw(st.lists(st.tuples(st.integers(0, queries - 1), items), max_size=12))
    top = data.draw(st.integers(1, num_items + 2))
    exclude = Exclude(*(torch.tensor([pair[part] for pair in pairs], dtype=torch.int64) for part in (0, 1)))
    ranked = rank(interests, table, target, exclude, top=top)
    for query in range(queries):
        score = {
            item: max(float(vector @ table[item - 1]) for vector in interests[query])
            for item in range(1, num_items + 1)
        }
        allowed, relevant = [item for item in score if (query, item) not in pairs], int(target[query])
        # Ties count against the relevant item.
        above = sum(score[item] >= score[relevant] for item in allowed if item != relevant)
        assert int(ranked.rank[query]) == (1 + above if relevant in allowed else schema.NEVER)
        best = [item for item in ranked.top_item_idx[query].tolist() if item]
        assert len(set(best)) == len(best) == min(top, len(allowed)) and set(best) <= set(allowed)
        assert [score[item] for item in best] == sorted((score[item] for item in allowed), reverse=True)[:top]


@settings(max_examples=40)
@given(st.integers(2, 9), st.integers(1, 3), st.integers(1, 5), st.booleans(), st.integers(0, 99))
def test_the_nearest_rows_are_those_of_a_plain_sort(rows, width, count, exclude_self, seed):
    table = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    nearest, products = nearest_rows(table, table, count, exclude_self=exclude_self)
    for row in range(rows):
        others = [other for other in range(rows) if not (exclude_self and other == row)]
        wanted = sorted(others, key=lambda other: -float(table[row] @ table[other]))[:count]
        assert nearest[row].tolist() == wanted
        torch.testing.assert_close(products[row], table[wanted] @ table[row])


def test_of_many_rows_none_is_nearest_to_itself():
    # More than one block of queries: each leaves out its own row, and no other.
    table = torch.randn(600, 4, generator=torch.Generator().manual_seed(0))
    products = (table @ table.T).fill_diagonal_(-torch.inf)
    rows, scores = nearest_rows(table, table, 3, exclude_self=True)
    assert torch.equal(rows, products.topk(3).indices)
    torch.testing.assert_close(scores, products.topk(3).values)


def test_scores_that_are_not_numbers_rank_last():
    assert rank(torch.full((1, 1, 2), torch.nan), torch.randn(4, 2), torch.tensor([2])).rank.tolist() == [4]


# Users of three items of four, who end with item 1 (had before), 4 (new), 1 (had before, also on validation).
COMEBACK = planted.leave_one_out(np.array([1, 2, 3, 1, 1, 2, 3, 4, 1, 2, 1, 1]), np.array([0, 4, 8, 12]), 4)


def test_a_relevant_item_that_the_user_had_is_a_miss_unless_seen_items_are_kept():
    assert COMEBACK.repeated(COMEBACK.cases[schema.TEST]).tolist() == [True, False, True]
    assert COMEBACK.repeated(COMEBACK.cases[schema.VALID]).tolist() == [False, False, True]
    options = {"max_length": 6, "batch_size": 2, "cutoffs": (1, 10)}
    ranking = rank_users(model(4), COMEBACK, schema.TEST, keep_seen=False, **options)
    # The second user can be shown one item only, the target.
    assert ranking.ranks.tolist() == [schema.NEVER, 1, schema.NEVER]
    rows = {
        (row["metric"], row["k"], row["slice"]): row for row in metrics_table(ranking, COMEBACK, (1, 10)).to_pylist()
    }
    # k = 10 is more than the catalogue has: a miss is a miss all the same.
    for name in ("recall", "ndcg", "hit_rate", "mrr"):
        assert {part: rows[name, 10, part]["value"] for part in ("all", "new target", "repeated target")} == {
            "all": 1 / 3,
            "new target": 1.0,
            "repeated target": 0.0,
        }
    assert [rows["ndcg", 10, part]["cases"] for part in ("new target", "repeated target")] == [1, 2]
    # Items 4; 4; 3 and 4 are left to show.
    assert ranking.exposure[10].tolist() == [0, 0, 1, 3]
    kept = rank_users(model(4), COMEBACK, schema.TEST, keep_seen=True, **options)
    assert max(kept.ranks.tolist()) <= 4 and kept.exposure[10].tolist() == [3, 3, 3, 3]


def test_metrics_are_zero_if_no_item_is_left_to_recommend():
    two = planted.leave_one_out(np.tile([1, 2], 4), np.array([0, 8]), 2)
    ranking = rank_users(model(2), two, schema.TEST, max_length=6, keep_seen=False, batch_size=1, cutoffs=(10,))
    rows = {(row["metric"], row["slice"]): row["value"] for row in metrics_table(ranking, two, (10,)).to_pylist()}
    assert [rows[name, "all"] for name in ("ndcg", "recall", "coverage", "gini")] == [0.0, 0.0, 0.0, 0.0]


def test_slices_by_hand():
    # Of five items one, the most frequent in training, is the head: item 2. A history of four events is longer than the
    # median of three; the first and the last user had their items before.
    item_idx = np.array([2, 1, 2, 2, 3, 3, 1, 5, 2, 4, 2, 5])
    histories = planted.leave_one_out(item_idx, np.array([0, 3, 7, 12]), 5)
    ranking = rank_users(model(5), histories, schema.TEST, max_length=6, keep_seen=True, batch_size=2)
    assert {name: chosen.tolist() for name, chosen in slices(ranking, histories).items()} == {
        "all": [True, True, True],
        "head target": [True, False, False],
        "tail target": [False, True, True],
        "cold target": [False, True, False],  # item 1 is in no training history
        "long history": [False, False, True],
        "short history": [True, True, False],
        "new target": [False, True, False],
        "repeated target": [True, False, True],
    }


def test_the_table_agrees_with_the_ranks_and_slices_divide_them():
    histories = planted.histories(planted.world(users=30))
    ranking = rank_users(
        model(histories.num_items), histories, schema.TEST, max_length=6, keep_seen=False, batch_size=7, cutoffs=(1, 5)
    )
    rows = {
        (row["metric"], row["k"], row["slice"]): row for row in metrics_table(ranking, histories, (1, 5)).to_pylist()
    }
    assert rows["ndcg", 5, "all"]["value"] == mean_metric(ranking, "ndcg", 5)
    groups = slices(ranking, histories)
    for a, b in (("head target", "tail target"), ("long history", "short history"), ("new target", "repeated target")):
        assert bool((groups[a] ^ groups[b]).all())
        parts = [rows["recall", 5, name]["cases"] * (rows["recall", 5, name]["value"] or 0) for name in (a, b)]
        assert abs(sum(parts) - float(case_metric(ranking, "recall", 5).sum())) < 1e-9
    assert [int(ranking.exposure[k].sum()) for k in (1, 5)] == [30 * 1, 30 * 5]
    assert (ranking.exposure[1] <= ranking.exposure[5]).all()
