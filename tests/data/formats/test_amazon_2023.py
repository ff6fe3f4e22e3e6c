import json

import pytest

from eimf.config import SplitSettings
from eimf.data.formats.amazon_2023 import AMAZON_2023
from tests.data.formats.importing import (
    expected_histories,
    histories,
    import_source,
    read_events,
    recognized,
    texts,
    write_source,
)

USERS = ("AEXAMPLEUSERONE0000000000000", "AEXAMPLEUSERTWO0000000000000")
EVENTS = [  # of the second user, the last two events are less than a second apart
    (USERS[0], "B0PARENT01", 5.0, 1588687728923),
    (USERS[0], "B0PARENT02", 4.0, 1589665266052),
    (USERS[1], "B0PARENT02", 1.0, 1589665266052),
    (USERS[0], "B0PARENT03", 5.0, 1589665266053),
    (USERS[1], "B0PARENT03", 2.0, 1600000000999),
    (USERS[1], "B0PARENT01", 2.0, 1600000000998),
]
METADATA = r"""
{"main_category": "All Beauty", "title": "Leather Care, 8 Ounce", "average_rating": 4.8, "features": [], "price": null,
 "images": [{"thumb": "x"}], "store": "Saddlers", "categories": [], "details": {}, "parent_asin": "B0PARENT01"}
{"main_category": "All Beauty", "title": "Tomato Mask", "categories": ["Beauty", "Skin Care"], "store": null,
 "details": {}, "parent_asin": "B0PARENT02", "bought_together": null}
{"main_category": null, "title": "", "price": "from 5.00", "categories": ["Hair"], "parent_asin": "B0PARENT03"}
""".replace(",\n", ",").lstrip()
HEADER = "user_id,parent_asin,rating,timestamp"


def review(user: str, item: str, rating: float, time: int) -> str:
    """A line with the fields of the data, in their order."""
    record = {"rating": rating, "title": "Nice", "text": "It's\n<br />fine", "images": [], "asin": "B0VARIANT0"}
    record |= {"parent_asin": item, "user_id": user, "timestamp": time, "helpful_vote": 0, "verified_purchase": True}
    return json.dumps(record) + "\n"


def csv(events: list[tuple], history: bool = False) -> str:
    rows = [",".join(map(str, event)) + (",B0PARENT01 B0PARENT02" if history else "") for event in events]
    return "\n".join([HEADER + (",history" if history else ""), *rows]) + "\n"


REVIEWS = "".join(review(*event) for event in EVENTS)


@pytest.mark.parametrize(
    "files", [{"All_Beauty.jsonl.gz": REVIEWS}, {"All_Beauty.csv": csv(EVENTS), "Movies_and_TV.jsonl": REVIEWS}]
)
def test_a_category_is_imported(tmp_path, files):
    source = write_source(tmp_path, {**files, "meta_All_Beauty.jsonl": METADATA})
    assert recognized(source) == ["amazon-2023"]
    rows = read_events(AMAZON_2023, source, "user_id", "parent_asin", "rating", "timestamp", "split")
    read = [(user, item, float(rating), int(time)) for user, item, rating, time, _ in rows]
    assert read == EVENTS and {row[-1] for row in rows} == {"train"}
    prepared = import_source(source)
    assert histories(prepared) == expected_histories((user, item, time) for user, item, _, time in EVENTS)
    assert prepared.timestamps.max() == pytest.approx(1600000000.999, abs=1e-4)  # seconds
    assert texts(prepared) == {
        "B0PARENT01": "Leather Care, 8 Ounce | Saddlers",
        "B0PARENT02": "Tomato Mask | Beauty, Skin Care",
        "B0PARENT03": "Hair",
    }


def test_the_files_of_a_split_say_the_split(tmp_path):
    """The last event of each user is in the test file, the one before it in the validation file."""
    parts = {"train": [EVENTS[0], EVENTS[2]], "valid": [EVENTS[1], EVENTS[5]], "test": [EVENTS[3], EVENTS[4]]}
    source = write_source(tmp_path, {f"All_Beauty.{part}.csv.gz": csv(rows, True) for part, rows in parts.items()})
    assert recognized(source) == ["amazon-2023"]
    rows = read_events(AMAZON_2023, source, "split", "user_id", "parent_asin")
    assert sorted(rows) == sorted((part, *event[:2]) for part, events in parts.items() for event in events)
    prepared = import_source(source, split=SplitSettings(protocol="given"))
    assert prepared.num_train.tolist() == [1, 1]
    assert histories(prepared) == expected_histories((user, item, time) for user, item, _, time in EVENTS)
