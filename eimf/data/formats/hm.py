"""H&M: transactions and articles as CSV. Ids of articles begin with a zero, and are text.

Source: https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations
"""

from eimf.data.delimited import first_line, reader_of_layout
from eimf.data.formats.base import Columns, Format
from eimf.data.source import Source
from eimf.data.text_file import Layout

_read = reader_of_layout(Layout(","))


def _recognizes(source: Source) -> bool:
    return any(first_line(file).startswith("t_dat,customer_id,article_id") for file in HM.event_files(source))


HM = Format(
    name="hm",
    about="H&M: transactions_train.csv and articles.csv",
    events=("transactions_train.csv",),
    items=("articles.csv",),
    columns=Columns(
        user="customer_id",
        item="article_id",
        order="t_dat",
        timestamp="t_dat",
        item_key="article_id",
        title="prod_name",
        text=("prod_name", "product_type_name", "colour_group_name", "department_name"),
    ),
    read_events=_read,
    read_items=_read,
    recognizes=_recognizes,
    notes=(
        "Times are days, so many events of a user are tied.",
        'Two pieces of an article are two equal rows: cleaning.bad_rows="reject" keeps one a day, and'
        ' cleaning.duplicates="first" one in all.',
    ),
)
