import json

import pytest

from eimf.data.formats.yelp import YELP
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
    ("-the_first_user-------", "-business_number_one-0", 3.0, "2018-07-07 22:09:11"),
    ("_the_other_user------0", "-business_number_one-0", 5.0, "2012-01-03 15:28:18"),
    ("-the_first_user-------", "-business_number_two-0", 5.0, "2018-07-07 22:09:10"),
    ("_the_other_user------0", "-business_number_two-0", 2.0, "2012-01-03 15:28:19"),
    ("-the_first_user-------", "_business_number_3---0", 4.0, "2014-02-05 20:30:30"),
    ("_the_other_user------0", "_business_number_3---0", 4.0, "2011-02-05 20:30:30"),
]
BUSINESSES = r"""
{"business_id":"-business_number_one-0","name":"Morning Point","address":"1 Pike","city":"North Town","stars":3.0,
"attributes":{"NoiseLevel":"u'average'"},"categories":"Restaurants, Breakfast & Brunch","hours":{"Monday":"7:30-15:0"}}
{"business_id":"-business_number_two-0","name":"Caf\u00e9 L\/Est","city":"Bay","categories":null,"hours":null}
{"business_id":"_business_number_3---0","name":"Kettle","city":"Hilltop","categories":"Diners"}
""".replace(",\n", ",").lstrip()


def review(user: str, item: str, stars: float, date: str) -> str:
    """A line with the fields of the data, in their order, without blanks."""
    record = {"review_id": "-a_review------------0", "user_id": user, "business_id": item, "stars": stars}
    record |= {"useful": 0, "funny": 0, "cool": 0, "text": 'Wow!  "Yummy"\n\u00e9', "date": date}
    return json.dumps(record, separators=(",", ":")) + "\n"


@pytest.mark.parametrize("prefix", ["yelp_academic_dataset_", ""])
def test_the_data_is_imported(tmp_path, prefix):
    reviews = "".join(review(*event) for event in EVENTS)
    source = write_source(tmp_path, {f"{prefix}review.json": reviews, f"{prefix}business.json": BUSINESSES})
    assert recognized(source) == ["yelp"]
    rows = read_events(YELP, source, "user_id", "business_id", "stars", "date")
    assert [(user, item, float(stars), date) for user, item, stars, date in rows] == EVENTS
    prepared = import_source(source)
    assert histories(prepared) == expected_histories((user, item, date) for user, item, _, date in EVENTS)
    assert prepared.timestamps.max() == 1531001351  # 2018-07-07 22:09:11 UTC
    assert texts(prepared) == {
        "-business_number_one-0": "Morning Point | Restaurants, Breakfast & Brunch | North Town",
        "-business_number_two-0": "Caf\u00e9 L/Est | Bay",
        "_business_number_3---0": "Kettle | Diners | Hilltop",
    }
