import json

import pytest

from eimf.data.formats.registry import find_format
from eimf.data.formats.yelp import YELP
from tests.data.formats.importing import expected_histories, histories, import_source, raw_rows, texts, write_source

EVENTS = [
    ("mh_-eMZ6K5RLWhZyISBhwA", "XQfwVwDr-v0ZS3_CbbE5Xw", 3.0, "2018-07-07 22:09:11"),
    ("OyoGAe7OKpv6SyGZT5g77Q", "XQfwVwDr-v0ZS3_CbbE5Xw", 5.0, "2012-01-03 15:28:18"),
    ("mh_-eMZ6K5RLWhZyISBhwA", "7ATYjTIgM3jUlt4UM3IypQ", 5.0, "2018-07-07 22:09:10"),
    ("OyoGAe7OKpv6SyGZT5g77Q", "7ATYjTIgM3jUlt4UM3IypQ", 2.0, "2012-01-03 15:28:19"),
    ("mh_-eMZ6K5RLWhZyISBhwA", "YjUWPpI6HXG530lwP-fb2A", 4.0, "2014-02-05 20:30:30"),
    ("OyoGAe7OKpv6SyGZT5g77Q", "YjUWPpI6HXG530lwP-fb2A", 4.0, "2011-02-05 20:30:30"),
]
BUSINESSES = r"""
{"business_id":"XQfwVwDr-v0ZS3_CbbE5Xw","name":"Turning Point","address":"1460 Bethlehem Pike","city":"North Wales","stars":3.0,"is_open":1,"attributes":{"NoiseLevel":"u'average'"},"categories":"Restaurants, Breakfast & Brunch","hours":{"Monday":"7:30-15:0"}}
{"business_id":"7ATYjTIgM3jUlt4UM3IypQ","name":"Caf\u00e9 L\/Est","city":"Tampa","attributes":null,"categories":null,"hours":null}
{"business_id":"YjUWPpI6HXG530lwP-fb2A","name":"Kettle","city":"Tucson","categories":"Diners"}
"""


def review(user: str, item: str, stars: float, date: str) -> str:
    """A line with the fields of the data, in their order, without blanks."""
    record = {"review_id": "KU_O5udG6zpxOg-VcAEodg", "user_id": user, "business_id": item, "stars": stars}
    record |= {"useful": 0, "funny": 0, "cool": 0, "text": 'Wow!  "Yummy"\n\u00e9', "date": date}
    return json.dumps(record, separators=(",", ":")) + "\n"


@pytest.mark.parametrize("prefix", ["yelp_academic_dataset_", ""])
def test_the_data_is_imported(tmp_path, prefix):
    reviews = "".join(review(*event) for event in EVENTS)
    source = write_source(tmp_path, {f"{prefix}review.json": reviews, f"{prefix}business.json": BUSINESSES.lstrip()})
    assert find_format("auto", source) is YELP
    rows = raw_rows(YELP, source, ["user_id", "business_id", "stars", "date"])
    assert [(user, item, float(stars), date) for user, item, stars, date in rows] == EVENTS
    prepared = import_source(source)
    assert histories(prepared) == expected_histories((user, item, date) for user, item, _, date in EVENTS)
    assert prepared.timestamps.max() == 1531001351  # 2018-07-07 22:09:11 UTC
    assert texts(prepared) == {
        "XQfwVwDr-v0ZS3_CbbE5Xw": "Turning Point | Restaurants, Breakfast & Brunch | North Wales",
        "7ATYjTIgM3jUlt4UM3IypQ": "Caf\u00e9 L/Est | Tampa",
        "YjUWPpI6HXG530lwP-fb2A": "Kettle | Diners | Tucson",
    }
