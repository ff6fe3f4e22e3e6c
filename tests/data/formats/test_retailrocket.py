from eimf.config import CleaningSettings
from eimf.data.formats.registry import find_format
from eimf.data.formats.retailrocket import RETAILROCKET
from eimf.data.formats.table import TABLE_FORMAT
from tests.data.formats.importing import expected_histories, histories, import_source, read_events, write_source

HEADER = ("timestamp", "visitorid", "event", "itemid", "transactionid")
EVENTS = [
    ("1433221332117", "257597", "view", "355908", ""),
    ("1433224086234", "257597", "transaction", "2", "4000"),
    ("1433221999827", "257597", "view", "318965", ""),
    ("1433221955914", "257597", "addtocart", "318965", ""),
    ("1433221955000", "257597", "view", "2", ""),
    ("1433221337106", "992329", "view", "2", ""),
]
FILES = {
    "events.csv": "\n".join(map(",".join, [HEADER, *EVENTS])) + "\n",
    "category_tree.csv": "categoryid,parentid\n1016,213\n",
    "item_properties_part1.csv": "timestamp,itemid,property,value\n1435460400000,460429,categoryid,1338\n",
}


def test_every_event_is_imported_with_its_type(tmp_path):
    source = write_source(tmp_path, FILES)
    assert find_format("auto", source) is RETAILROCKET
    rows = [tuple(field or None for field in event) for event in EVENTS]
    assert read_events(RETAILROCKET, source, *HEADER) == rows
    events = [(visitor, item, int(time)) for time, visitor, _, item, _ in EVENTS]
    data = import_source(source)
    assert histories(data) == expected_histories(events)
    assert data.timestamps.max() == 1433224086.234  # milliseconds in the file
    views = import_source(source, cleaning=CleaningSettings(event_types=("view",)))
    kinds = [event[2] for event in EVENTS]
    wanted = [event for event, kind in zip(events, kinds, strict=True) if kind == "view"]
    assert histories(views) == expected_histories(wanted)


def test_events_with_another_header_are_a_table(tmp_path):
    assert find_format("auto", write_source(tmp_path, {"events.csv": "user_id,item_id\nu,a\n"})) is TABLE_FORMAT
