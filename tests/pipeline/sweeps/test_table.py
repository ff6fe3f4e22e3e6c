"""The tables of a sweep, from results alone."""

import math
from fractions import Fraction

import numpy as np
import pytest

from eimf.statistics import Difference, Mean, holm, paired_difference
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
    result("modern", 1, [1, 1, 7]),
    result("plain", 1, [1, 60], dataset="b", backbone="dnn"),
]


def test_means_are_over_seeds_and_differences_over_users():
    means, differences, other = results_tables(PLAN, RESULTS)
    assert means.corner == "a" and means.columns == ("plain", "text", "modern")
    ((backbone, (plain, text, modern)),) = means.rows
    assert backbone == "sasrec" and text == modern
    # (1 + 1/2) / 3 and (1/2 + 1/2) / 3 are 1/2 and 1/3
    assert plain.ndcg.value == pytest.approx(5 / 12) and plain.ndcg.deviation == pytest.approx(1 / 6 / math.sqrt(2))
    assert plain.recall == Mean(2 / 3, 0, 2) and plain.complete and not text.complete and text.seeds == (1,)
    assert differences.columns == ("sasrec",)  # more differences than backbones: a row for each
    names, (gain, same, none) = zip(*((name, cell) for name, (cell,) in differences.rows), strict=True)
    assert names == ("text minus plain", "modern minus plain", "modern minus text")
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
        "| a | plain | text | modern |",
        "|---|--:|--:|--:|",
        "| sasrec | 0.4167 ± 0.1179 / 0.6667 ± 0.0000 | 0.7778 / 1.0000, seed 1 | 0.7778 / 1.0000, seed 1 |",
    ]
    # Gains 0, 1/2, 1/3: mean 5/18, a standard error of 0.147, and p .059, adjusted for two tests. As a share of 1/2:
    # 56 % would show at level .05, .147 (2.24 + .84) / .5 = 91 % do at .025.
    assert lines[3:] == [
        "",
        "| a | sasrec |",
        "|---|--:|",
        "| text minus plain | +0.2778 (p 0.12, 91 % would show) |",
        "| modern minus plain | +0.2778 (p 0.12, 91 % would show) |",
        "| modern minus text | +0.0000 (identical) |",
        "",
        "| b | plain |",
        "|---|--:|",
        "| dnn | 0.5000 / 0.5000, seed 1 |",
    ]


def ranks_of(seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(1, 14, 200).tolist()


def test_a_family_is_all_differences_of_a_plan_to_one_baseline():
    grid = [(dataset, backbone) for dataset in ("a", "b") for backbone in ("sasrec", "dnn")]
    results = [
        exact(variant, ranks_of(10 * number + place), dataset=dataset, backbone=backbone)
        for place, (dataset, backbone) in enumerate(grid)
        for number, variant in enumerate(PLAN.variants)
    ]
    cells: dict[str, list[Difference]] = {}
    for table in results_tables(PLAN, results)[1::2]:
        for name, row in table.rows:
            cells.setdefault(name.split(" minus ")[1], []).extend(row)
    gains = {(run.dataset, run.backbone, run.variant): gains_of(run) for run in results}

    def p(dataset: str, backbone: str, variant: str, base: str) -> float:
        return paired_difference(gains[dataset, backbone, base], gains[dataset, backbone, variant]).p

    for base, variants in (("plain", ("text", "modern")), ("text", ("modern",))):
        alone = [p(*place, variant, base) for place in grid for variant in variants]
        assert len(cells[base]) == len(alone) == 4 * len(variants)
        assert sorted(cell.p for cell in cells[base]) == pytest.approx(sorted(holm(alone)))


def exact(variant: str, ranks: list[int], **fields: object) -> TrialResult:
    summary = {"ndcg@10": 0.0, "recall@10": 0.0}  # what differences do not read
    values = {"seed": 1, "key": "0" * 64, "summary": summary, **fields}
    return TrialResult(variant=variant, **values, **pack_ranks(np.array(ranks), np.arange(len(ranks))))


def gains_of(run: TrialResult) -> np.ndarray:
    ranks = run.target_ranks()
    return np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0)


@pytest.mark.parametrize(
    ("plain", "text", "said"), [([1, 3, 7], [1, 3], "not the same test cases: 2 and 3"), ([1], [3], "one user")]
)
def test_what_cannot_be_compared_says_why_and_stops_no_sweep(plain, text, said):
    _, differences = results_tables(PLAN, [result("plain", 1, plain), result("text", 1, text)])
    assert differences.rows == (("sasrec", (said,)),)
    assert f"| sasrec | {said} |" in format_tables([differences])
