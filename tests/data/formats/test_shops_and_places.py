"""Formats of events alone: Gowalla, Retailrocket, Diginetica."""

import pytest

from eimf.data.formats.diginetica import DIGINETICA
from eimf.data.formats.gowalla import GOWALLA
from eimf.data.formats.retailrocket import RETAILROCKET
from tests.data.formats.reading import read_events, recognized, write_files

CHECK_INS = [
    ("0", "2010-10-19T23:55:27Z", "30.2359091167", "-97.7951395833", "22847"),
    ("0", "2010-10-18T22:17:43Z", "30.2691029532", "-97.7493953705", "420315"),
    ("196585", "2010-06-10T04:19:20Z", "46.5204583333", "8.3312833333", "471724"),
]


@pytest.mark.parametrize("name", ["loc-gowalla_totalCheckins.txt", "loc-brightkite_totalCheckins.txt"])
def test_check_ins(tmp_path, name):
    content = "".join("\t".join(row) + "\n" for row in CHECK_INS)
    source = write_files(tmp_path, {name: content, "loc-gowalla_edges.txt": "0\t1\n"})
    assert recognized(source) == ["gowalla"]
    wanted = [(user, place, time) for user, time, _, _, place in CHECK_INS]
    assert read_events(GOWALLA, source, "user", "location", "time") == wanted


def test_events_of_a_shop_with_and_without_a_transaction(tmp_path):
    header = "timestamp,visitorid,event,itemid,transactionid"
    rows = [("1433221332117", "257597", "view", "355908", ""), ("1433224086234", "992329", "transaction", "2", "4000")]
    content = "\n".join([header, *map(",".join, rows)]) + "\n"
    source = write_files(
        tmp_path,
        {
            "events.csv": content,
            "category_tree.csv": "categoryid,parentid\n1016,213\n",
            "item_properties_part1.csv": "timestamp,itemid,property,value\n1435460400000,460429,categoryid,1338\n",
        },
    )
    assert recognized(source) == ["retailrocket"] and RETAILROCKET.time_unit == "ms"
    wanted = [(visitor, item, time, event) for time, visitor, event, item, _ in rows]
    assert read_events(RETAILROCKET, source, "visitorid", "itemid", "timestamp", "event") == wanted
    assert recognized(write_files(tmp_path / "other", {"events.csv": "user_id,item_id\nu,a\n"})) == []


@pytest.mark.parametrize(
    "header", ["sessionId;userId;itemId;timeframe;eventdate", "session_id;user_id;item_id;timeframe;eventdate"]
)
def test_views_of_sessions(tmp_path, header):
    rows = [("1", "NA", "81766", "526309", "2016-05-09"), ("2", "71", "31331", "1031018", "2016-05-10")]
    content = "\n".join([header, *map(";".join, rows)]) + "\n"
    products = "itemId;pricelog2;product.name.tokens\n1;10;4875,776\n"
    source = write_files(tmp_path, {"train-item-views.csv": content, "products.csv": products})
    assert recognized(source) == ["diginetica"]
    wanted = [(session, item, frame, date) for session, _, item, frame, date in rows]
    assert read_events(DIGINETICA, source, "sessionId", "itemId", "timeframe", "eventdate") == wanted
