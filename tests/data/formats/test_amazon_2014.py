import json

import pytest

from eimf.data.formats.amazon_2014 import AMAZON_2014
from tests.data.formats.importing import (
    expected_histories,
    histories,
    import_source,
    read_events,
    recognized,
    texts,
    titles,
    write_source,
)

EVENTS = [
    ("A10USERONE00", "0000000017", 5.0, 1297468800),
    ("A10USERONE00", "B0EXAMPLE1", 3.0, 1252800000),
    ("A20USERTWO00", "B0EXAMPLE1", 4.0, 1358553600),
    ("A10USERONE00", "B0EXAMPLE2", 1.0, 1400000000),
    ("A20USERTWO00", "0000000017", 5.0, 1358553601),
    ("A20USERTWO00", "B0EXAMPLE2", 2.0, 1100000000),
    ("A30USERTHREE", "B0EXAMPLE2", 2.0, 1100000000),
]
METADATA = r"""
{'asin': '0000000017', 'related': {'also_bought': ['B0EXAMPLE9']}, 'title': "Child's &amp; \"Adult\" Wand",
 'price': 6.79, 'salesRank': {'Toys & Games': 211836}, 'brand': 'Wandco', 'categories': [['Toys', 'Magic'], ['New']]}
{'asin': 'B0EXAMPLE1', 'categories': [['Beauty']], 'description': 'It\'s long\n with\ttabs', 'title': 'Na\xefve Soap'}
{'asin': 'B0EXAMPLE2', 'categories': [['Beauty', 'Nails']], 'imUrl': 'http://x/3.jpg'}
""".replace(",\n", ",")


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
    assert recognized(source) == ["amazon-2014"]
    rows = read_events(AMAZON_2014, source, "reviewerID", "asin", "overall", "unixReviewTime")
    assert [(user, item, float(rating), int(time)) for user, item, rating, time in rows] == EVENTS


@pytest.mark.parametrize("kind", FILES)
def test_a_category_is_imported(tmp_path, kind):
    prepared = import_source(write_source(tmp_path, {**FILES[kind], "meta_Beauty.json.gz": METADATA}))
    expected = expected_histories((user, item, time) for user, item, _, time in EVENTS)
    assert histories(prepared) == expected and len(expected) == 2
    assert titles(prepared)["B0EXAMPLE1"] == "Na\u00efve Soap"
    assert texts(prepared) == {
        "0000000017": 'Child\'s & "Adult" Wand | Toys, Magic, New | Wandco',
        "B0EXAMPLE1": "Na\u00efve Soap | Beauty",
        "B0EXAMPLE2": "Beauty, Nails",
    }


def test_a_long_first_review_is_json_too(tmp_path):
    line = json.dumps({"reviewText": "x " * 9000, "helpful": None} | {"reviewerID": "A1", "asin": "B1"})
    source = write_source(tmp_path, {"reviews_Beauty.json": line.replace("x ", "\\/") + "\n"})
    assert read_events(AMAZON_2014, source, "reviewerID", "asin") == [("A1", "B1")]
