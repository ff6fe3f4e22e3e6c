import pytest

from eimf.config import CleaningSettings
from eimf.data.formats.hm import HM
from tests.data.formats.importing import (
    expected_histories,
    histories,
    import_source,
    read_events,
    recognized,
    texts,
    write_source,
)

USERS = (64 * "0", "fffe" + 60 * "8")
EVENTS = [  # an article bought twice on a day is two equal rows
    ("2018-09-20", USERS[0], "0663000001", "0.05083", "2"),
    ("2018-09-20", USERS[0], "0663000001", "0.05083", "2"),
    ("2018-09-21", USERS[1], "0541000023", "0.03049", "1"),
    ("2018-09-22", USERS[0], "0541000023", "0.03049", "2"),
    ("2018-09-22", USERS[1], "0663000001", "0.03049", "2"),
    ("2020-01-01", USERS[0], "0108000015", "0.008", "2"),
    ("2020-01-02", USERS[1], "0108000015", "0.008", "2"),
]
TRANSACTIONS = "t_dat,customer_id,article_id,price,sales_channel_id\n" + "".join(",".join(row) + "\n" for row in EVENTS)
ARTICLES = """
article_id,product_code,prod_name,product_type_no,product_type_name,colour_group_name,department_name,detail_desc
0108000015,0108000,Strap top,253,Vest top,Black,Jersey,"Jersey top, with ""narrow"" straps."
0541000023,0541000,"Push, Melbourne",306,Bra,Light Pink,Lingerie,
0663000001,0663000,Atlas,283,Body,Black,,"Body"
""".lstrip()


def test_the_data_is_imported(tmp_path):
    source = write_source(tmp_path, {"transactions_train.csv": TRANSACTIONS, "articles.csv": ARTICLES})
    assert recognized(source) == ["hm"]
    names = ["t_dat", "customer_id", "article_id", "price", "sales_channel_id"]
    assert read_events(HM, source, *names) == EVENTS  # text: no zero is lost
    prepared = import_source(source, cleaning=CleaningSettings(bad_rows="reject"))
    events = dict.fromkeys((user, item, date) for date, user, item, *_ in EVENTS)
    assert histories(prepared) == expected_histories(events) and len(events) == 6
    assert prepared.timestamps.min() == pytest.approx(1537401600)  # 2018-09-20
    assert texts(prepared) == {
        "0108000015": "Strap top | Vest top | Black | Jersey",
        "0541000023": "Push, Melbourne | Bra | Light Pink | Lingerie",
        "0663000001": "Atlas | Body | Black",
    }
