import json

import pytest

from eimf.config import CleaningSettings
from eimf.data.formats.amazon_2018 import AMAZON_2018
from eimf.data.formats.registry import find_format
from tests.data.formats.importing import expected_histories, histories, import_source, raw_rows, texts, write_source

EVENTS = [
    ("A1V6B6TNIC10QE", "0143026860", 1.0, 1424304000),
    ("A1V6B6TNIC10QE", "B00006IDL8", 5.0, 1418860800),
    ("A2F5GHSXFQ0W6J", "B00006IDL8", 4.0, 1408752000),
    ("A1V6B6TNIC10QE", "B01HJHA7GI", 4.0, 1448752000),
    ("A2F5GHSXFQ0W6J", "0143026860", 4.0, 1408838400),
    ("A2F5GHSXFQ0W6J", "B01HJHA7GI", 3.0, 1400000000),
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
{"category": [], "tech1": "", "description": ["Loud 'N Clear&trade;"], "title": "Loud &#39;N Clear&trade; <span class=\"a-size\">Amplifier</span>", "also_buy": [], "brand": "idea village", "rank": "2,938,573 in Beauty & Personal Care (", "details": {"ASIN: ": "0143026860"}, "price": "", "asin": "0143026860"}
{"category": ["Beauty", "Nails & Tools"], "title": "Nail\nFile", "rank": [">#1 in Beauty"], "asin": "B00006IDL8"}
{"category": ["Beauty"], "title": "", "brand": "Oribe", "asin": "B01HJHA7GI"}
{"category": ["Beauty"], "title": "", "brand": "Oribe", "asin": "B01HJHA7GI"}
"""


@pytest.mark.parametrize(
    "files",
    [{"All_Beauty_5.json.gz": REVIEWS, "All_Beauty.json": "{}"}, {"Movies.json": REVIEWS}, {"Beauty.csv": RATINGS}],
)
def test_events_are_those_of_the_file(tmp_path, files):
    source = write_source(tmp_path, {**files, "meta_All_Beauty.json.gz": METADATA.lstrip()})
    assert find_format("auto", source) is AMAZON_2018
    rows = raw_rows(AMAZON_2018, source, ["reviewerID", "asin", "overall", "unixReviewTime"])
    assert [(user, item, float(rating), int(time)) for user, item, rating, time in rows] == EVENTS


def test_a_category_is_imported(tmp_path):
    source = write_source(tmp_path, {"All_Beauty_5.json.gz": REVIEWS, "meta_All_Beauty.json.gz": METADATA.lstrip()})
    prepared = import_source(source, cleaning=CleaningSettings(bad_rows="reject"))  # an item is there twice
    assert histories(prepared) == expected_histories((user, item, time) for user, item, _, time in EVENTS)
    assert texts(prepared) == {
        "0143026860": "Loud 'N Clear\u2122 Amplifier | idea village",
        "B00006IDL8": "Nail File | Beauty, Nails & Tools",
        "B01HJHA7GI": "Beauty | Oribe",
    }
