import json

import pytest

from eimf.data.formats.amazon_2014 import AMAZON_2014
from eimf.data.formats.registry import find_format
from tests.data.formats.importing import (
    expected_histories,
    histories,
    import_source,
    raw_rows,
    texts,
    titles,
    write_source,
)

EVENTS = [
    ("A1KLRMWW2FWPL4", "0000031887", 5.0, 1297468800),
    ("A1KLRMWW2FWPL4", "B00004U9JP", 3.0, 1252800000),
    ("A2G5TCU2WDFZ65", "B00004U9JP", 4.0, 1358553600),
    ("A1KLRMWW2FWPL4", "B00AXX0JOC", 1.0, 1400000000),
    ("A2G5TCU2WDFZ65", "0000031887", 5.0, 1358553601),
    ("A2G5TCU2WDFZ65", "B00AXX0JOC", 2.0, 1100000000),
    ("A3VUKZSHOI5TVT", "B00AXX0JOC", 2.0, 1100000000),
]
METADATA = r"""
{'asin': '0000031887', 'related': {'also_bought': ['B00JHONN1S']}, 'title': "Ballet Dress-Up Tutu &amp; \"Wand\"", 'price': 6.79, 'salesRank': {'Toys & Games': 211836}, 'imUrl': 'http://x/1.jpg', 'brand': 'Coxlures', 'categories': [['Clothing', 'Girls'], ['Novelty']]}
{'asin': 'B00004U9JP', 'categories': [['Beauty']], 'description': 'It\'s long\nand has\ttabs', 'title': 'Na\xefve Soap'}
{'asin': 'B00AXX0JOC', 'categories': [['Beauty', 'Nails']], 'imUrl': 'http://x/3.jpg'}
"""


def review(user: str, item: str, rating: float, time: int) -> dict:
    """A review with the fields of the data, in their order."""
    return {
        "reviewerID": user,
        "asin": item,
        "reviewerName": 'M. "Mac"',
        "helpful": [2, 3],
        "reviewText": "I bought this.\nIt's {fine}, \u2014 'really'",
        "overall": rating,
        "summary": "Five Stars",
        "unixReviewTime": time,
        "reviewTime": "09 13, 2009",
    }


REVIEWS = "".join(json.dumps(review(*event)) + "\n" for event in EVENTS)
FILES = {
    "json": {"reviews_Beauty_5.json.gz": REVIEWS},
    "literals": {"reviews_Beauty.json": "".join(f"{review(*event)!r}\n" for event in EVENTS)},
    "ratings": {
        "ratings_Beauty.csv": "".join(f"{user},{item},{rating},{time}\n" for user, item, rating, time in EVENTS)
    },
}


@pytest.mark.parametrize("kind", FILES)
def test_events_are_those_of_the_file(tmp_path, kind):
    source = write_source(tmp_path, FILES[kind])
    assert find_format("auto", source) is AMAZON_2014
    rows = raw_rows(AMAZON_2014, source, ["reviewerID", "asin", "overall", "unixReviewTime"])
    assert [(user, item, float(rating), int(time)) for user, item, rating, time in rows] == EVENTS


@pytest.mark.parametrize("kind", FILES)
def test_a_category_is_imported(tmp_path, kind):
    prepared = import_source(write_source(tmp_path, {**FILES[kind], "meta_Beauty.json.gz": METADATA}))
    expected = expected_histories((user, item, time) for user, item, _, time in EVENTS)
    assert histories(prepared) == expected and len(expected) == 2
    assert titles(prepared)["B00004U9JP"] == "Na\u00efve Soap"
    assert texts(prepared) == {
        "0000031887": 'Ballet Dress-Up Tutu & "Wand" | Clothing, Girls, Novelty | Coxlures',
        "B00004U9JP": "Na\u00efve Soap | Beauty",
        "B00AXX0JOC": "Beauty, Nails",
    }
