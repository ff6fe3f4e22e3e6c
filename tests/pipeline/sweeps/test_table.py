"""The tables of a sweep, from results alone."""

import math
from fractions import Fraction

import numpy as np
import pytest

from pipeline.report.tables import Mean
from pipeline.sweeps.plan import Plan
from pipeline.sweeps.results import TrialResult, pack_ranks
from pipeline.sweeps.table import format_tables, results_tables

PLAN = Plan(
    recipes=["a.toml", "b.toml"],
    backbones=["sasrec", "dnn"],
    seeds=[1, 2],
    baselines=["plain", "text"],
    variants={"plain": [], "text": [], "modern": []},
)


def result(variant: str, seed: int, ranks: list[int], **fields: object) -> TrialResult:
    values = {"dataset": "a", "backbone": "sasrec", "key": "0" * 64}
    gains = [Fraction(1, int(math.log2(rank + 1))) if rank <= 10 else 0 for rank in ranks]
    summary = {"ndcg@10": float(sum(gains) / len(ranks)), "recall@10": sum(rank <= 10 for rank in ranks) / len(ranks)}
    return TrialResult(
        variant=variant,
        seed=seed,
        summary=summary,
        **{**values, **fields},
        **pack_ranks(np.array(ranks), np.arange(len(ranks))),
    )


# Ranks 1, 3, 7 have gains 1, 1/2, 1/3.
RESULTS = [
    result("plain", 1, [1, 3, 11]),
    result("plain", 2, [3, 3, 11]),
    result("text", 1, [1, 1, 7]),
    result("modern", 1, [1, 1, 7], fails_gain_test=True),
    result("plain", 1, [1, 60], dataset="b", backbone="dnn"),
]


def test_means_are_over_seeds_and_differences_over_users():
    means, differences, other = results_tables(PLAN, RESULTS)
    assert means.corner == "a" and means.columns == ("plain", "text", "modern (gain test failed)")
    ((backbone, (plain, text, modern)),) = means.rows
    assert backbone == "sasrec" and text == modern
    # (1 + 1/2) / 3 and (1/2 + 1/2) / 3 are 1/2 and 1/3
    assert plain.ndcg.value == pytest.approx(5 / 12) and plain.ndcg.deviation == pytest.approx(1 / 6 / math.sqrt(2))
    assert plain.recall == Mean(2 / 3, 0, 2) and plain.complete and not text.complete and text.seeds == (1,)
    assert differences.columns == ("text minus plain", "modern minus plain", "modern minus text")
    ((_, (gain, same, none)),) = differences.rows
    # Over seed 1, the only one that both have: 0, 1 - 1/2, 1/3.
    assert gain == same and gain.n == 3 and gain.value == pytest.approx(5 / 18)
    assert (none.value, none.error, none.p) == (0, 0, 1)
    assert other.corner == "b" and other.columns == ("plain",) and [name for name, _ in other.rows] == ["dnn"]


def test_the_order_is_the_plans_whatever_that_of_the_results():
    assert results_tables(PLAN, RESULTS[::-1]) == results_tables(PLAN, RESULTS)


def test_without_results_there_is_no_table():
    assert results_tables(PLAN, []) == [] and format_tables([]) == ""


def test_tables_as_markdown():
    lines = format_tables(results_tables(PLAN, RESULTS)).splitlines()
    assert lines[:3] == [
        "| a | plain | text | modern (gain test failed) |",
        "|---|--:|--:|--:|",
        "| sasrec | 0.4167 ± 0.1179 / 0.6667 ± 0.0000 | 0.7778 / 1.0000, seed 1 | 0.7778 / 1.0000, seed 1 |",
    ]
    assert lines[3] == "" and lines[4].startswith("| a | text minus plain |")
