"""Ids and their codes, over chunks."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.data import codes as id_codes
from eimf.data.codes import MISSING, IdCodes, rank_ids

IDS = st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=12)


@settings(max_examples=60)
@given(st.lists(IDS, max_size=5))
def test_an_id_has_one_code_in_all_chunks(chunks):
    numbered = IdCodes()
    codes = [numbered.add(pl.Series(chunk, dtype=pl.String)) for chunk in chunks]
    texts = numbered.ids().to_list()
    assert sorted(texts) == sorted({text for chunk in chunks for text in chunk if text is not None})
    for chunk, coded in zip(chunks, codes, strict=True):
        assert [None if code == MISSING else texts[code] for code in coded] == chunk
    ranked, place = rank_ids(numbered.ids())
    assert ranked.to_list() == sorted(texts, key=str.encode)
    assert [ranked[int(number)] for number in place[:-1]] == texts and place[MISSING] == MISSING


def test_two_ids_that_share_a_hash_are_noticed():
    class SameHash(pl.Series):
        def hash(self, seed: int = 0, *_) -> pl.Series:
            whole = super().hash(seed)
            return whole if seed == id_codes._SEEDS[1] else whole * 0

    numbered = IdCodes()
    with pytest.raises(AssertionError, match="two ids have the same hash"):
        numbered._add(SameHash(["a", "b"]))
    numbered._add(SameHash(["a", "a"]))
    with pytest.raises(AssertionError, match="two ids have the same hash"):
        numbered._add(SameHash(["b"]))
    assert np.array_equal(numbered._add(SameHash(["a"])), [0])
