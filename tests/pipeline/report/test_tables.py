"""Numbers first, text second: what a table holds, and how it is shown."""

import math

import pytest
import torch

from pipeline.report.markdown import format_markdown
from pipeline.report.tables import Difference, Mean, Number, SeedMeans, Table, difference, mean
from pipeline.report.text import format_cell, format_table

TABLE = Table("data", ("n", "gain"), (("sasrec", (Number(3, 0), Difference(-0.5, 0.25, 0.0455, 9))), ("b", (None, ""))))


def test_a_mean_has_the_deviation_of_a_sample():
    """Of 1, 2, 6: mean 9 / 3, variance (4 + 1 + 9) / 2."""
    assert mean([1, 2, 6]) == Mean(3, math.sqrt(7), 3)
    alone = mean([0.5])
    assert (alone.value, alone.n) == (0.5, 1) and math.isnan(alone.deviation)


def test_a_difference_is_paired_over_users():
    """Differences 0, 1, 1, 2: mean 1, variance 2 / 3, standard error sqrt(2 / 3 / 4) = 1 / sqrt(6)."""
    base, other = torch.tensor([0.0, 1, 2, 3]), torch.tensor([0.0, 2, 3, 5])
    paired = difference(base, other)
    assert (paired.value, paired.n) == (1, 4)
    assert paired.error == pytest.approx(1 / math.sqrt(6))
    assert paired.p == pytest.approx(math.erfc(math.sqrt(6) / math.sqrt(2))) and paired.significant


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        ("gone", "gone"),
        (Number(0.12345), "0.1235"),
        (Number(41.5, 0), "42"),
        (mean([0.1]), "0.1000"),
        (mean([0.1, 0.3]), "0.2000 ± 0.1414"),
        (SeedMeans(mean([0.1]), mean([0.2]), (2,), complete=False), "0.1000 / 0.2000, seed 2"),
        (SeedMeans(mean([0.1]), mean([0.2]), (2,), complete=True), "0.1000 / 0.2000"),
        (Difference(0.001, 0.002, 0.05, 9), "+0.0010 ± 0.0020 (p 0.05)"),
        (Difference(-0.001, 0.0002, 1e-7, 9), "-0.0010 ± 0.0002 (p 1e-07)*"),
    ],
)
def test_a_cell_as_text(cell, text):
    assert format_cell(cell) == text


def test_a_table_as_text_is_aligned():
    assert format_table(TABLE).splitlines() == [
        "data    n                         gain",
        "------  -  ---------------------------",
        "sasrec  3  -0.5000 ± 0.2500 (p 0.045)*",
        "b",
    ]


def test_a_table_as_markdown_leaves_out_standard_errors():
    assert format_markdown(TABLE).splitlines() == [
        "| data | n | gain |",
        "|---|--:|--:|",
        "| sasrec | 3 | -0.5000 (p 0.045)* |",
        "| b |  |  |",
    ]
