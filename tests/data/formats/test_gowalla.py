import pytest

from eimf.data.formats.gowalla import GOWALLA
from eimf.data.formats.registry import find_format
from tests.data.formats.importing import expected_histories, histories, import_source, read_events, write_source

CHECK_INS = [
    ("0", "2010-10-19T23:55:27Z", "30.2359091167", "-97.7951395833", "22847"),
    ("0", "2010-10-18T22:17:43Z", "30.2691029532", "-97.7493953705", "420315"),
    ("0", "2010-10-17T23:42:03Z", "30.2557309927", "-97.7633857727", "316637"),
    ("0", "2010-10-16T18:50:42Z", "30.2691029532", "-97.7493953705", "420315"),
    ("196585", "2010-06-10T04:19:20Z", "46.5204583333", "8.3312833333", "471724"),
]


@pytest.mark.parametrize("name", ["loc-gowalla_totalCheckins.txt.gz", "loc-brightkite_totalCheckins.txt"])
def test_every_check_in_is_an_event(tmp_path, name):
    content = "".join("\t".join(row) + "\n" for row in CHECK_INS)
    source = write_source(tmp_path, {name: content, "loc-gowalla_edges.txt": "0\t1\n"})
    assert find_format("auto", source) is GOWALLA
    events = [(user, place, time) for user, time, _, _, place in CHECK_INS]
    assert read_events(GOWALLA, source, "user", "location", "time") == events
    data = import_source(source)
    assert histories(data) == expected_histories(events)  # ISO times in one zone sort as text
    assert data.timestamps.max() == 1287532527  # 2010-10-19T23:55:27Z
