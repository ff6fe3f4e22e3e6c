"""Yelp: reviews and businesses as JSON lines.

Source: https://business.yelp.com/data/resources/open-dataset
"""

from eimf.data.formats.base import Columns, Format
from eimf.data.json_lines import first_fields, json_reader
from eimf.data.source import Source

_COLUMNS = Columns(
    user="user_id",
    item="business_id",
    order="date",
    timestamp="date",
    rating="stars",
    item_key="business_id",
    title="name",
    text=("name", "categories", "city"),
)


def _recognizes(source: Source) -> bool:
    files = YELP.event_files(source)
    return any({"user_id", "business_id", "stars", "date"} <= first_fields(file) for file in files)


YELP = Format(
    name="yelp",
    about="Yelp: yelp_academic_dataset_review.json and yelp_academic_dataset_business.json",
    events=("yelp_academic_dataset_review.json", "review.json"),
    items=("yelp_academic_dataset_business.json", "business.json"),
    columns=_COLUMNS,
    read_events=json_reader(),
    read_items=json_reader(optional=_COLUMNS.text),
    recognizes=_recognizes,
    notes=(
        'Papers often use the events of one year, such as cleaning.since="2019-01-01", and the 5-core or 10-core:'
        " cleaning.min_events and min_item_events.",
    ),
)
