"""What a card says of titles, and of names that are picked."""

import pytest

from eimf.export.card import card
from eimf.serving.cold_start import ColdStartPart, ColdStartWeights
from eimf.serving.labels import LabelSettings
from eimf.serving.manifest import IndexPart, Model, Source

MODEL = Model(
    backbone="dnn", width=4, base_width=4, interests=1, max_length=9, uses_timestamps=False, keep_seen=False,
    num_items=7,
)  # fmt: skip
SOURCE = Source(checkpoint="a" * 64, calibration=None, dataset="b" * 64, esim=None)
INDEX = IndexPart(kind="exact", parameters={}, recall=None)
NAMED, UNNAMED = ColdStartWeights(names=0.5), ColdStartWeights(history=1.0)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ((NAMED,) * 5, "changes the recommendations, whatever the history."),
        ((UNNAMED,) * 5, "changes nothing: on validation data it did not help."),
        ((UNNAMED, NAMED, UNNAMED, NAMED, UNNAMED), "but not after 0, 2, 4 or more events: there it did not help"),
    ],
)
def test_it_says_when_a_picked_name_counts(named, said):
    part = ColdStartPart(unnamed=UNNAMED, named=named)
    text = card(MODEL, SOURCE, INDEX, LabelSettings(count=3, threshold=0.5), part, {}, ["i1", "i2"], ["a", None])
    assert said in text
    assert "picks by its name" not in card(MODEL, SOURCE, INDEX, None, part, {}, ["i1", "i2"], [])


@pytest.mark.parametrize(
    ("titles", "said"),
    [
        (["a", "b"], "of all items"),
        ([None, None], "none: items are shown by their ids"),
        (["a", None], "of 1 of 2 items"),
    ],
)
def test_it_says_how_many_items_have_a_title(titles, said):
    part = ColdStartPart(unnamed=UNNAMED, named=(UNNAMED,) * 5)
    assert f"| titles | {said} |" in card(MODEL, SOURCE, INDEX, None, part, {}, ["i1", "i2"], titles)
