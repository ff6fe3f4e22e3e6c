import pytest

from eimf.data.formats.diginetica import DIGINETICA
from eimf.data.formats.registry import find_format
from tests.data.formats.importing import expected_histories, histories, import_source, read_events, write_source

VIEWS = [
    ("1", "NA", "81766", "526309", "2016-05-09"),
    ("1", "NA", "31331", "1031018", "2016-05-09"),
    ("1", "NA", "32118", "243569", "2016-05-09"),
    ("2", "71", "31331", "75848", "2016-05-10"),
]


@pytest.mark.parametrize(
    "header", ["sessionId;userId;itemId;timeframe;eventdate", "session_id;user_id;item_id;timeframe;eventdate"]
)
def test_a_session_is_a_user(tmp_path, header):
    content = "\n".join([header, *map(";".join, VIEWS)]) + "\n"
    products = "itemId;pricelog2;product.name.tokens\n1;10;4875,776\n"
    source = write_source(tmp_path, {"train-item-views.csv": content, "products.csv": products})
    assert find_format("auto", source) is DIGINETICA
    columns = ["sessionId", "userId", "itemId", "timeframe", "eventdate"]
    assert read_events(DIGINETICA, source, *columns) == VIEWS
    data = import_source(source)
    assert histories(data) == expected_histories((session, item, int(time)) for session, _, item, time, _ in VIEWS)
    assert set(data.timestamps) == {1462752000}  # 2016-05-09
