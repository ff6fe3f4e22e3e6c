"""Events and items in several files: errors and removed rows name the file, and its row."""

from pathlib import Path

import pytest

from eimf.config import CleaningSettings, ColumnSettings
from eimf.data.prepare import Prepared
from eimf.errors import DataError
from tests.data.formats.importing import import_source, write_source

GOOD = "user_id,item_id,order\nu,a,1\nu,b,2\nu,c,3\n"
ITEMS = "item_id,title\na,Ant\nb,Bee\n"


def ready(folder: Path, files: dict[str, str], **cleaning: object) -> Prepared:
    source = write_source(folder, files)
    return import_source(source, ColumnSettings(), CleaningSettings.model_validate(cleaning), format="table")


def test_the_first_bad_row_is_named_with_its_file(tmp_path):
    header = GOOD.splitlines()[0]
    for number, (row, problem) in enumerate(
        {
            ",d,5": r"missing id: 1; the first is row 2 below the header of events\.2\.csv, user None, item 'd'",
            "v,d,soon": r"column 'order', row 2 below the header of events\.2\.csv: 'soon' is neither",
        }.items()
    ):
        files = {"events.1.csv": GOOD, "events.2.csv": f"{header}\nv,a,1\n{row}\n"}
        with pytest.raises(DataError, match=problem):
            ready(tmp_path / str(number), files)


def test_removed_rows_of_events_and_items_have_the_row_within_their_file(tmp_path):
    files = {
        "events.1.csv": f"{GOOD}u,,4\n",
        "events.2.csv": "user_id,item_id,order\nu,a,1\nw,a,1\n",
        "items.1.csv": ITEMS,
        "items.2.csv": "item_id,title\nc,Cat\na,Ant\nb,Bug\n",
    }
    with pytest.raises(DataError, match=r"id 'a' is in rows 1 \(items\.1\.csv\) and 2 \(items\.2\.csv\) below"):
        ready(tmp_path / "stop", files)
    removed = ready(tmp_path / "reject", files, bad_rows="reject", keep_removed=True).removed
    assert removed is not None
    assert [(row["file"], row["row"], row["reason"]) for row in removed.to_pylist()] == [
        ("interactions: events.1.csv", 3, "missing id"),
        ("interactions: events.2.csv", 0, "repeated event"),
        ("interactions: events.2.csv", 1, "user with too few events"),
        ("items: items.2.csv", 1, "repeated item row"),
        ("items: items.2.csv", 2, "item row that differs from an earlier one"),
    ]


def test_dates_of_a_later_file_are_written_like_those_of_the_first(tmp_path):
    """Otherwise it depended on the chunks whether a row is bad."""
    header = GOOD.splitlines()[0]
    later = "\n".join((header, "u,d,2024-01-04T00:00:00Z", "u,e,05/01/2024", "u,f,2024-01-06"))
    first = "\n".join((header, *(f"u,{item},2024-01-0{day}" for day, item in enumerate("abc", 1))))
    files = {"events.1.csv": first, "events.2.csv": later}
    with pytest.raises(DataError, match=r"row 1 below the header of events\.2\.csv: .* has a zone, the first row has"):
        ready(tmp_path / "stop", files)
    assert ready(tmp_path / "reject", files, bad_rows="reject").items["item_id"].to_pylist() == ["a", "b", "c", "f"]
