import numpy as np
import pyarrow as pa
import pytest

from eimf import schema
from eimf.data.eval_cases import EvalCases
from eimf.errors import ArtifactError, SettingError
from eimf.evaluation.case_values import Metric, case_values, parse_metric, read_ranks

CASES = EvalCases(np.array([4, 9]), np.array([1, 3]), np.array([0, 2, 3]), np.array([7, 8, 7]))


def ranks_table(**columns: list) -> pa.Table:
    values = {"case": [0, 0, 1], "user_idx": [4, 4, 9], "item_idx": [7, 8, 7], "rank": [3, 1, 12]}
    return pa.table(list((values | columns).values()), schema=schema.RANKS)


def test_a_slice_counts_its_own_relevant_items_and_the_cases_that_have_any():
    ranks, case = read_ranks(ranks_table(), CASES), CASES.case
    everything = case_values(ranks, case, Metric("recall", 2))
    assert (everything.case.tolist(), everything.values.tolist()) == ([0, 1], [1 / 2, 0])
    part = case_values(ranks, case, Metric("recall", 2), np.array([True, False, False]))
    assert (part.case.tolist(), part.values.tolist()) == ([0], [0])
    last = case_values(ranks, case, Metric("mrr", 20), np.array([False, False, True]))
    assert (last.case.tolist(), last.values.tolist()) == ([1], [1 / 12])


@pytest.mark.parametrize("text", ["ndcg@10", "map@1", "hit_rate@999"])
def test_a_metric_is_written_as_it_is_read(text):
    assert str(parse_metric(text)) == text


@pytest.mark.parametrize(
    "text", ["auc@10", "ndcg", "ndcg@0", "ndcg@-1", "ndcg@1.5", "ndcg@9999999999", "@", "NDCG@10", ""]
)
def test_an_unknown_metric_is_named_with_those_that_there_are(text):
    with pytest.raises(SettingError, match=f"metric: there is no {text!r}; write NAME@K.*recall, ndcg, hit_rate"):
        parse_metric(text)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (ranks_table(item_idx=[7, 9, 7]), "not those of the test cases"),
        (ranks_table(case=[0, 1, 1]), "not those of the test cases"),
        (ranks_table().slice(1), "not those of the test cases"),
        (ranks_table(rank=[3, 0, 12]), "one is 0, and the best is 1"),
        (ranks_table(rank=[3, None, 12]), "1 empty cells"),
        (ranks_table().drop_columns("rank"), "no column rank"),
        (ranks_table().set_column(3, "rank", pa.array([1.0, float("nan"), 2.0])), "has double, not int32"),
    ],
)
def test_ranks_of_other_cases_or_without_a_number_are_refused(table, match):
    with pytest.raises(ArtifactError, match=match):
        read_ranks(table, CASES)
