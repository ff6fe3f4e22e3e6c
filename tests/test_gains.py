"""The table of gains, from results alone."""

import numpy as np
import pytest

from eimf.statistics import Mean, correct, paired_difference
from pipeline.report.markdown import format_markdown
from pipeline.report.tables import Gain, Number, Table
from pipeline.sweeps.plan import Plan
from pipeline.sweeps.results import TrialResult, pack_ranks
from tests.studies.gains import gains_table

VARIANTS = ("plain", "text", "paper", "shuffled", "random")


def plan(*backbones: str, settings: tuple[str, ...] = ()) -> Plan:
    variants = {name: [] for name in VARIANTS}
    return Plan(recipes=["a.toml"], backbones=backbones, seeds=[1, 2], variants=variants, settings=settings)


def result(dataset: str, backbone: str, variant: str, seed: int, ranks: list[int]) -> TrialResult:
    """Its NDCG@10: ranks 1, 3, 7 count 1, 1/2, 1/3."""
    summary = {"ndcg@10": float(gains(ranks).mean())}
    packed = pack_ranks(np.array(ranks), np.arange(len(ranks)))
    return TrialResult(
        dataset=dataset, backbone=backbone, variant=variant, seed=seed, key="0" * 64, summary=summary, **packed
    )


def gains(ranks: list[int]) -> np.ndarray:
    values = np.array(ranks)
    return np.where(values <= 10, 1 / np.log2(values + 1), 0)


def drawn(seed: int, users: int = 100) -> list[int]:
    return np.random.default_rng(seed).integers(1, 14, users).tolist()


def cells(table: Table) -> dict[tuple[str, str], object]:
    return {(name, column): cell for name, row in table.rows for column, cell in zip(table.columns, row, strict=True)}


def test_a_row_has_gains_over_each_baseline_and_empty_cells_for_what_is_missing():
    office = [
        result("office", "remi", "plain", 1, [3, 3, 11]),
        result("office", "remi", "plain", 2, [3, 1, 11]),
        result("office", "remi", "paper", 1, [1, 3, 7]),
        result("office", "remi", "shuffled", 1, [1, 1, 1]),
        result("office", "mind", "paper", 1, [1, 3, 7]),
        result("office", "sasrec", "text", 1, [1, 3, 7]),
    ]
    users = [result("office", "remi", variant, 1, [3, 1]) for variant in ("plain", "paper")]
    held_out = plan("remi", settings=("train.epochs=3", "split.protocol=user-split"))
    table = gains_table("paper", [(plan("sasrec", "remi", "mind"), office), (plan("remi"), []), (held_out, users)])
    assert table.corner == "gain of paper"
    assert table.columns == ("plain, NDCG@10", "over plain", "over shuffled")  # no plan has paper and another one
    names = ["sasrec", "remi", "mind", "mean of backbones"]
    assert [name for name, _ in table.rows] == [f"office, {name}" for name in names] + ["office, user-split, remi"]
    cell = cells(table)
    plain, gain = cell["office, remi", "plain, NDCG@10"], cell["office, remi", "over plain"]
    assert isinstance(plain, Mean) and plain.value == pytest.approx((1 / 3 + 1 / 2) / 2) and plain.n == 2
    # Seed 1, which both have: 1/2, 0, 1/3 more than 1/2, 1/2, 0.
    assert isinstance(gain, Gain) and gain.difference.relative == pytest.approx((5 / 18) / (1 / 3))
    assert {name for name in names if not any(dict(table.rows)[f"office, {name}"])} == {"sasrec", "mind"}
    assert "| office, user-split, remi | 0.7500 | +0.0 % (identical) |  |" in format_markdown(table)


def test_a_family_is_a_column_and_the_means_of_backbones_are_their_own():
    runs = {
        (dataset, backbone, variant): drawn(100 * ord(dataset) + 10 * len(backbone) + VARIANTS.index(variant))
        for dataset in ("a", "b")
        for backbone in ("sasrec", "dnn")
        for variant in VARIANTS
    }
    results = [result(*key, 1, ranks) for key, ranks in runs.items()]
    table = gains_table("paper", [(plan("sasrec", "dnn"), results)])
    assert table.columns[1:] == ("over plain", "over text", "over shuffled", "over random")
    cell = cells(table)
    for base in ("plain", "text", "shuffled", "random"):
        places = [(dataset, backbone) for dataset in ("a", "b") for backbone in ("sasrec", "dnn")]
        tests = [paired_difference(gains(runs[*place, base]), gains(runs[*place, "paper"])) for place in places]
        for place, wanted in zip(places, correct(tests), strict=True):
            shown = cell[", ".join(place), f"over {base}"].difference
            assert (shown.p, shown.level, shown.relative) == pytest.approx((wanted.p, wanted.level, wanted.relative))
        means = [
            paired_difference(
                *(sum(gains(runs[dataset, name, which]) for name in ("sasrec", "dnn")) / 2 for which in pair)
            )
            for dataset in ("a", "b")
            for pair in [(base, "paper")]
        ]
        for dataset, wanted in zip(("a", "b"), correct(means), strict=True):
            shown = cell[f"{dataset}, mean of backbones", f"over {base}"].difference
            assert (shown.p, shown.level, shown.value) == pytest.approx((wanted.p, wanted.level, wanted.value))
            assert shown.error < max(
                cell[f"{dataset}, {name}", f"over {base}"].difference.error for name in ("sasrec", "dnn")
            )
    plain = cell["a, mean of backbones", "plain, NDCG@10"]
    assert plain == Number(pytest.approx(np.mean([gains(runs["a", name, "plain"]) for name in ("sasrec", "dnn")])))


def test_the_mean_is_over_the_trainings_that_both_have():
    ranks = {("dnn", "plain", 1): [3, 3], ("dnn", "paper", 1): [1, 3], ("mind", "plain", 1): [3, 11]}
    ranks |= {("mind", "plain", 2): [3, 11], ("mind", "paper", 2): [1, 1], ("remi", "paper", 1): [1, 1]}
    results = [result("a", *key, row) for key, row in ranks.items()]
    table = gains_table("paper", [(plan("dnn", "mind", "remi"), results)])
    # Plain dnn 1 and mind 2: 1/2, 1/4 on average, and paper 1, 3/4.
    gain = cells(table)["a, mean of backbones", "over plain"].difference
    assert (gain.base, gain.value, gain.n) == (3 / 8, 1 / 2, 2)


def test_two_plans_with_the_same_row_are_refused():
    office = (plan("remi"), [result("office", "remi", "paper", 1, [1, 3])])
    with pytest.raises(ValueError, match="two plans have results of office, remi; leave one of them out"):
        gains_table("paper", [office, office])


def test_other_users_are_said_in_the_cell():
    runs = [result("a", "remi", "plain", 1, [1, 3]), result("a", "remi", "paper", 1, [1, 3, 7])]
    assert (
        cells(gains_table("paper", [(plan("remi"), runs)]))["a, remi", "over plain"]
        == "not the same test cases: 2 and 3"
    )


def test_data_sets_are_pooled_by_the_inverse_of_their_squared_errors_under_the_usual_protocol_only():
    def study(dataset: str, users: int, settings: tuple[str, ...] = ()) -> tuple[Plan, list[TrialResult]]:
        names = [("remi", "plain"), ("remi", "paper"), ("sasrec", "plain"), ("sasrec", "paper")]
        seeds = [sum(map(ord, dataset)) + number for number in range(len(names))]
        results = [result(dataset, *name, 1, drawn(seed, users)) for name, seed in zip(names, seeds, strict=True)]
        return plan("remi", "sasrec", settings=settings), results

    few, many, other = study("few", 50), study("many", 400), study("few", 90, ("split.protocol=user-split",))
    alone = {}
    for name, (_, (plain_remi, paper_remi, plain_sasrec, paper_sasrec)) in (("few", few), ("many", many)):
        base, paper = (
            np.mean([gains(run.target_ranks()) for run in runs], axis=0)
            for runs in ((plain_remi, plain_sasrec), (paper_remi, paper_sasrec))
        )
        gain = paired_difference(base, paper)
        alone[name] = (gain.relative, gain.error / gain.base)
    weights = {name: error**-2 for name, (_, error) in alone.items()}
    value = sum(weights[name] * relative for name, (relative, _) in alone.items()) / sum(weights.values())
    pooled = cells(gains_table("paper", [few, many, other]))["all, leave-one-out, mean of backbones", "over plain"]
    assert isinstance(pooled, Gain)
    assert pooled.difference.value == pytest.approx(value) and pooled.difference.relative == pytest.approx(value)
    assert pooled.difference.error == pytest.approx(sum(weights.values()) ** -0.5) and pooled.difference.n == 450
    assert not any(name.startswith("all") for name, _ in gains_table("paper", [few, other]).rows)
