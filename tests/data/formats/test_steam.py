from eimf.config import CleaningSettings
from eimf.data.formats.registry import find_format
from eimf.data.formats.steam import STEAM
from tests.data.formats.importing import expected_histories, histories, import_source, raw_rows, texts, write_source

EVENTS = [
    ("Chaos Syren", "725280", "2017-12-17"),
    ('"Ol\' Bob" \u2605', "725280", "2017-12-18"),
    ("Chaos Syren", "328100", "2017-08-02"),
    ('"Ol\' Bob" \u2605', "328100", "2015-01-31"),
    ("Chaos Syren", "761140", "2018-01-04"),
    ('"Ol\' Bob" \u2605', "761140", "2016-02-29"),
    ("Chaos Syren", "999999", "2011-01-01"),  # no such game
]
GAMES = r"""
{u'publisher': u'Kotoshiro', u'genres': [u'Action', u'Casual'], u'app_name': u'Lost Summoner Kitty', u'title': u'Lost Summoner Kitty', u'release_date': u'2018-01-04', u'discount_price': 4.49, u'price': 4.99, u'early_access': False, u'id': u'761140', u'developer': u'Kotoshiro'}
{u'genres': [u'RPG'], u'app_name': u"Real Pok\xe9 \u2122 '98", u'price': u'Free To Play', u'early_access': True, u'id': u'725280'}
{u'app_name': None, u'price': None, u'id': u'328100', u'developer': u"Dev's"}
{u'app_name': u'A game without an id'}
"""


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
    assert find_format("auto", source) is STEAM
    assert raw_rows(STEAM, source, ["username", "product_id", "date"]) == EVENTS
    prepared = import_source(source, cleaning=CleaningSettings(bad_rows="reject"))
    assert histories(prepared) == expected_histories(event for event in EVENTS if event[1] != "999999")
    assert texts(prepared) == {
        "328100": "Dev's",
        "725280": "Real Pok\u00e9 \u2122 '98 | RPG",
        "761140": "Lost Summoner Kitty | Action, Casual | Kotoshiro",
    }


def test_hours_can_be_the_rating(tmp_path):
    assert [hours for (hours,) in raw_rows(STEAM, write_source(tmp_path, FILES), ["hours"])] == ["0.1"] * 6 + [None]
