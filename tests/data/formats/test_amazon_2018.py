import json

import pytest

from eimf.config import CleaningSettings
from eimf.data.formats.amazon_2018 import AMAZON_2018
from tests.data.formats.importing import (
    expected_histories,
    histories,
    import_source,
    read_events,
    recognized,
    texts,
    write_source,
)

EVENTS = [
    ("A10USERONE00", "0000000017", 1.0, 1424304000),
    ("A10USERONE00", "B0EXAMPLE1", 5.0, 1418860800),
    ("A20USERTWO00", "B0EXAMPLE1", 4.0, 1408752000),
    ("A10USERONE00", "B0EXAMPLE2", 4.0, 1448752000),
    ("A20USERTWO00", "0000000017", 4.0, 1408838400),
    ("A20USERTWO00", "B0EXAMPLE2", 3.0, 1400000000),
]


def review(user: str, item: str, rating: float, time: int) -> str:
    """A line with the fields of the data, in their order; some of them are missing in some lines."""
    vote = {} if rating < 3 else {"vote": "2,016", "style": {"Size:": " 4 Ounce"}}
    record = {"overall": rating, "verified": True, "reviewTime": "02 19, 2015", "reviewerID": user, "asin": item}
    record |= vote | {"reviewerName": "theodore", "reviewText": "great", "summary": "One Star", "unixReviewTime": time}
    return json.dumps(record) + "\n"


REVIEWS = "".join(review(*event) for event in EVENTS)
RATINGS = "".join(f"{item},{user},{rating},{time}\n" for user, item, rating, time in EVENTS)
METADATA = r"""
{"category": [], "tech1": "", "description": ["Loud"], "title": "Loud &#39;N <span class=\"a-size\">Clear</span>",
 "also_buy": [], "brand": "ear & co", "rank": "2,938,573 in Beauty (", "details": {"ASIN: ": "x"}, "asin": "0000000017"}
{"category": ["Beauty", "Nails & Tools"], "title": "Nail\nFile", "rank": [">#1 in Beauty"], "asin": "B0EXAMPLE1"}
{"category": ["Beauty"], "title": "", "brand": "Combs", "asin": "B0EXAMPLE2"}
{"category": ["Beauty"], "title": "", "brand": "Combs", "asin": "B0EXAMPLE2"}
""".replace(",\n", ",").lstrip()


@pytest.mark.parametrize(
    "files",
    [{"All_Beauty_5.json.gz": REVIEWS, "All_Beauty.json": "{}"}, {"Movies.json": REVIEWS}, {"Beauty.csv": RATINGS}],
)
def test_events_are_those_of_the_file(tmp_path, files):
    source = write_source(tmp_path, {**files, "meta_All_Beauty.json.gz": METADATA})
    assert recognized(source) == ["amazon-2018"]
    rows = read_events(AMAZON_2018, source, "reviewerID", "asin", "overall", "unixReviewTime")
    assert [(user, item, float(rating), int(time)) for user, item, rating, time in rows] == EVENTS


def test_a_category_is_imported(tmp_path):
    source = write_source(tmp_path, {"All_Beauty_5.json.gz": REVIEWS, "meta_All_Beauty.json.gz": METADATA})
    prepared = import_source(source, cleaning=CleaningSettings(bad_rows="reject"))  # an item is there twice
    assert histories(prepared) == expected_histories((user, item, time) for user, item, _, time in EVENTS)
    assert texts(prepared) == {
        "0000000017": "Loud 'N Clear | ear & co",
        "B0EXAMPLE1": "Nail File | Beauty, Nails & Tools",
        "B0EXAMPLE2": "Beauty | Combs",
    }
