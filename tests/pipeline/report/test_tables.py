"""Numbers first, text second: what a table holds, and how it is shown."""

import math
from dataclasses import replace

import pytest
import torch

from eimf.statistics import Difference, Mean, mean
from pipeline.report.differences import difference
from pipeline.report.markdown import format_markdown
from pipeline.report.tables import Gain, Number, SeedMeans, Table
from pipeline.report.text import format_cell, format_table

LOSS = Difference(-0.5, 0.25, 0.0455, 9, base=2.0)
TABLE = Table("data", ("n", "gain"), (("sasrec", (Number(3, 0), LOSS)), ("b", (None, ""))))
SMALL, LARGE = Difference(0.001, 0.002, 0.62, 9, base=0.05), Difference(-0.001, 0.0002, 1e-7, 9, base=0.05)


def test_a_mean_has_the_deviation_of_a_sample():
    """Of 1, 2, 6: mean 9 / 3, variance (4 + 1 + 9) / 2."""
    assert mean([1, 2, 6]) == Mean(3, math.sqrt(7), 3)
    alone = mean([0.5])
    assert (alone.value, alone.n) == (0.5, 1) and math.isnan(alone.deviation)


def test_a_difference_is_paired_over_users_and_needs_two():
    """Differences 0, 1, 1, 2: mean 1, variance 2 / 3, standard error sqrt(2 / 3 / 4) = 1 / sqrt(6)."""
    base, other = torch.tensor([0.0, 1, 2, 3]), torch.tensor([0.0, 2, 3, 5])
    paired = difference(base, other)
    assert isinstance(paired, Difference) and (paired.value, paired.n) == (1, 4)
    assert paired.error == pytest.approx(1 / math.sqrt(6))
    assert (difference(base[:0], other[:0]), difference(base[:1], other[:1])) == ("no user", "one user")


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
        (SMALL, "+0.0010 ± 0.0020 (p 0.62, 11 % would show)"),  # 2.8 times .002 / .05
        (replace(SMALL, error=0.001), "+0.0010 ± 0.0010 (p 0.62, 5.6 % would show)"),
        (replace(SMALL, base=0.0), "+0.0010 ± 0.0020 (p 0.62)"),
        (replace(SMALL, error=0.0, p=1.0), "+0.0010 ± 0.0000 (p 1)"),
        (LARGE, "-0.0010 ± 0.0002 (p 1e-07)*"),
        (replace(LARGE, by_seed=(-2, -2, 1)), "-0.0010 ± 0.0002 (p 1e-07, not every seed)*"),
        (replace(LARGE, by_seed=(-2, -2, -1)), "-0.0010 ± 0.0002 (p 1e-07)*"),
        (Difference(0, 0, 1, 9, 1), "+0.0000 ± 0.0000 (identical)"),
        (Gain(SMALL), "+2.0 % (p 0.62, 11 % would show)"),
        (Gain(LARGE), "-2.0 % (p 1e-07)*"),
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


def test_a_transposed_table_has_a_row_for_each_column():
    turned = Table("data", ("sasrec", "b"), (("n", (Number(3, 0), None)), ("gain", (LOSS, ""))))
    assert TABLE.transposed() == turned and turned.transposed() == TABLE
