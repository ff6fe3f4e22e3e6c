"""The order of the raw rows decides nothing but ties, whatever is cleaned and predicted."""

from dataclasses import fields

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from eimf.config import CleaningSettings, SplitSettings
from eimf.data.order import Ties
from eimf.data.prepare import Prepared, prepare
from eimf.errors import UserError

SPLITS = [
    SplitSettings(),
    SplitSettings(protocol="user-split", valid_share=0.3, test_share=0.3),
    SplitSettings(protocol="temporal", valid_share=0.3, test_share=0.3, cold_items="drop"),
    SplitSettings(protocol="given", max_cases=2),
]
TRIES = range(5)


def log_of(rng: np.random.Generator, ties: bool) -> pl.DataFrame:
    """60 events of eight users and four items, with ratings and parts; without `ties` all at different times."""
    order = rng.integers(0, 12, 60) if ties else rng.permutation(60)
    parts = np.array(["train", "valid", "test"])[np.searchsorted([0.5, 0.75], order / order.max())]
    return pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in rng.integers(0, 8, 60)],
            "item_id": [f"i{number}" for number in rng.integers(0, 4, 60)],
            "order": order,
            "timestamp": order.astype(float),
            "rating": rng.integers(1, 6, 60).astype(float),
            "split": parts,
        }
    )


def cleaning_of(rng: np.random.Generator) -> CleaningSettings:
    return CleaningSettings(
        bad_rows="reject",
        min_rating=rng.choice([None, 2.0]),
        items_since=rng.choice([None, 1.0]),
        duplicates=rng.choice(["keep", "first", "last"]),
        max_events=rng.choice([None, 6]),
        min_events=3,
        min_item_events=rng.choice([1, 3]),
    )


def same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return one.equals(other) if isinstance(one, pa.Table) else one == other


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.protocol)
@pytest.mark.parametrize("ties", [None, 7], ids=["no ties", "shuffled"])
def test_the_same_rows_in_another_order_give_the_same_dataset(split, ties):
    prepared = 0
    for seed in TRIES:
        rng = np.random.default_rng(seed)
        log, cleaning = log_of(rng, ties is not None), cleaning_of(rng)
        try:
            one, other = (
                prepare([rows], None, cleaning=cleaning, split=split, ties=Ties(ties))
                for rows in (log, log.sample(fraction=1, shuffle=True, seed=seed))
            )
        except UserError:  # these settings leave nothing, or nothing to predict
            continue
        prepared += 1
        for field in fields(Prepared):
            assert same(getattr(one, field.name), getattr(other, field.name)), field.name
    assert prepared >= 2
