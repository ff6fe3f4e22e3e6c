"""The space of a search, as a plan writes it."""

import pytest

from eimf.errors import SettingError
from pipeline.search.space import Choices, Range, read_space, settings_of


def test_names_may_stand_with_and_without_quotes():
    table = {
        "train.lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "model": {"width": {"low": 32, "high": 256, "step": 32}, "options": {"sasrec": {"layers": [1, 2]}}},
    }
    space = read_space(table, "plan.space")
    assert space == {
        "train.lr": Range(1e-4, 1e-2, log=True),
        "model.width": Range(32, 256, step=32),
        "model.options.sasrec.layers": Choices((1, 2)),
    }
    assert settings_of({"train.lr": 1e-5, "calibrate.sources": ["text"], "train.loss": "bce"}) == (
        "train.lr=1e-05",
        'calibrate.sources=["text"]',
        'train.loss="bce"',
    )


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (0.1, r"x: 0.1 is neither a range nor a list; .*; one value belongs into settings"),
        ([], r"x: an empty list; write"),
        ([1, 2, 1], r"x: 1 is in the list twice; write each value once"),
        ({"low": 1}, r"x: high is missing; write"),
        ({"low": 1, "high": 2, "steps": 1}, r"x: 'steps' is no part of a range; write"),
        ({"low": "1", "high": 2}, r"x.low: '1' is not a number"),
        ({"low": 1, "high": float("inf")}, r"x.high: inf is not a number"),
        ({"low": 1, "high": float("nan")}, r"x.high: nan is not a number"),
        ({"low": False, "high": True}, r"x.low: False is not a number"),
        ({"low": 2, "high": 1}, r"x: low=2 is not below high=1; exchange them"),
        ({"low": 0, "high": 1, "log": True}, r"x: log=true from low=0; begin above 0"),
        ({"low": 1, "high": 2, "log": 1}, r"x.log: 1; write true or false"),
        ({"low": 1, "high": 2, "log": True, "step": 1}, r"x: log=true together with step=1; leave one"),
        ({"low": 1, "high": 2, "step": 0}, r"x.step: 0; write a number above 0"),
        ({"low": 10, "high": 32, "step": 8}, r"x: high=32 is no whole number of steps of 8 above low=10; end at 26"),
        ({"low": 1, "high": 3, "step": 0.5}, r"x: step=0.5 between integers; write low and high with a decimal point"),
    ],
)
def test_a_range_without_meaning_is_one_error(value, match):
    with pytest.raises(SettingError, match=f"^plan.space.{match}"):
        read_space({"x": value}, "plan.space")
