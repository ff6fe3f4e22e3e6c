from eimf.config import CleaningSettings
from eimf.data.formats.steam import STEAM
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
    ("Sea Otter", "1010", "2017-12-17"),
    ('"Ol\' Bob" \u2605', "1010", "2017-12-18"),
    ("Sea Otter", "1020", "2017-08-02"),
    ('"Ol\' Bob" \u2605', "1020", "2015-01-31"),
    ("Sea Otter", "1030", "2018-01-04"),
    ('"Ol\' Bob" \u2605', "1030", "2016-02-29"),
    ("Sea Otter", "999999", "2011-01-01"),  # no such game
]
GAMES = r"""
{u'publisher': u'Cat & Co', u'genres': [u'Action', u'Casual'], u'app_name': u'Lost Cat', u'title': u'Lost Cat',
 u'release_date': u'2018-01-04', u'discount_price': 4.49, u'early_access': False, u'id': u'1030', u'developer': u'Cat'}
{u'genres': [u'RPG'], u'app_name': u"Caf\xe9 \u2122 '98", u'price': u'Free', u'early_access': True, u'id': u'1010'}
{u'app_name': None, u'price': None, u'id': u'1020', u'developer': u"Dev's"}
{u'app_name': u'A game without an id'}
""".replace(",\n", ",")


def review(user: str, item: str, date: str) -> str:
    """A line as Python 2 wrote it, with the fields of the data, in their order; hours are sometimes missing."""
    hours = "" if date.startswith("2011") else "u'hours': 0.1, "
    username = "u" + ascii(user)
    return (
        f"{{u'username': {username}, {hours}u'products': 41, u'product_id': u'{item}', u'page_order': 0, "
        f"u'date': u'{date}', u'text': u\"It's \\\"fun\\\", \\u2661\\n None\", u'early_access': False, u'page': 1}}\n"
    )


FILES = {"steam_reviews.json.gz": "".join(review(*event) for event in EVENTS), "steam_games.json.gz": GAMES}


def test_the_data_is_imported(tmp_path):
    source = write_source(tmp_path, FILES)
    assert recognized(source) == ["steam"]
    assert read_events(STEAM, source, "username", "product_id", "date") == EVENTS
    prepared = import_source(source, cleaning=CleaningSettings(bad_rows="reject"))
    assert histories(prepared) == expected_histories(event for event in EVENTS if event[1] != "999999")
    assert texts(prepared) == {
        "1020": "Dev's",
        "1010": "Caf\u00e9 \u2122 '98 | RPG",
        "1030": "Lost Cat | Action, Casual | Cat",
    }


def test_hours_can_be_the_rating(tmp_path):
    assert [hours for (hours,) in read_events(STEAM, write_source(tmp_path, FILES), "hours")] == ["0.1"] * 6 + [None]
