"""Steam: reviews and games as Python literals (SASRec's data).

Source: https://cseweb.ucsd.edu/~jmcauley/datasets.html#steam_data
"""

from eimf.data.formats.base import Columns, Format
from eimf.data.json_lines import first_fields, literal_reader
from eimf.data.source import Source

_COLUMNS = Columns(
    user="username",
    item="product_id",
    order="date",
    timestamp="date",
    item_key="id",
    title="app_name",
    text=("app_name", "genres", "developer"),
)
_OPTIONAL_EVENT_FIELDS = ("hours", "user_id", "found_funny", "compensation")


def _recognizes(source: Source) -> bool:
    files = source.find(("steam_reviews.json", "steam_new.json"))
    return any({"username", "product_id", "date"} <= first_fields(file) for file in files)


STEAM = Format(
    name="steam",
    about="Steam: steam_reviews.json and steam_games.json",
    events=("steam_reviews.json", "steam_new.json"),
    items=("steam_games.json",),
    columns=_COLUMNS,
    read_events=literal_reader(_OPTIONAL_EVENT_FIELDS),
    read_items=literal_reader(optional=_COLUMNS.text),
    recognizes=_recognizes,
    notes=(
        "Times are days, so many events of a user are tied.",
        "A user is a username: the numbers in user_id are often missing.",
        'Some reviews are there twice, and some games are missing or have no id: set cleaning.bad_rows="reject".',
        "Papers use the 5-core: cleaning.min_events=5 and min_item_events=5.",
    ),
)
