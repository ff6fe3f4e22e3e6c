"""All steps of cleaning together, on events in chunks of two files, against plain Python on a list of rows."""

from collections import Counter
from dataclasses import dataclass

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.config import CleaningSettings
from eimf.data.order import Ties
from eimf.data.reasons import Reason
from eimf.data.select import select_events
from eimf.errors import DataError

NAMES = ("user_id", "item_id", "order", "timestamp", "event_type", "split")


@dataclass
class Event:
    row: int
    user: str | None
    item: str | None
    order: int
    time: float
    kind: str
    part: str
    reason: Reason = Reason.KEPT


def clean_by_hand(events: list[Event], chosen: CleaningSettings) -> list[Event]:
    """What is left, in order; `reason` of the others says why not."""

    def left() -> list[Event]:
        kept = [event for event in events if event.reason == Reason.KEPT]
        return sorted(kept, key=lambda e: (e.user, ("train", "valid", "test").index(e.part), e.order, e.row))

    def further(reason: Reason, inspected: list[Event], *fields: str) -> None:
        seen = set()
        for event in inspected:
            key = tuple(getattr(event, field) for field in fields)
            event.reason = reason if key in seen else event.reason
            seen.add(key)

    for event in events:
        if event.user is None or event.item is None:
            event.reason = Reason.MISSING_ID
        elif event.kind not in (chosen.event_types or ("view", "buy")):
            event.reason = Reason.EVENT_TYPE
        elif chosen.since is not None and event.time < chosen.since:
            event.reason = Reason.TOO_EARLY
    old = {event.item for event in left() if chosen.items_since is not None and event.time < chosen.items_since}
    for event in left():
        event.reason = Reason.OLD_ITEM if event.item in old else event.reason
    further(Reason.REPEATED, left(), "user", "item", "order")
    if chosen.duplicates != "keep":
        further(Reason.DUPLICATE, left() if chosen.duplicates == "first" else left()[::-1], "user", "item")
    counts, passed = Counter(event.user for event in left()), Counter[str | None]()
    for event in left():
        passed[event.user] += 1
        beyond = counts[event.user] - chosen.max_events if chosen.max_events else 0
        if beyond > 0 and (chosen.long_histories == "drop" or passed[event.user] <= beyond):
            event.reason = Reason.LONG_HISTORY
    sides = (
        ("item", chosen.min_item_events, Reason.FEW_ITEM_EVENTS),
        ("user", chosen.min_events, Reason.FEW_USER_EVENTS),
    )
    before = None
    while before != (before := len(left())):
        for side, least, reason in sides:
            counts = Counter(getattr(event, side) for event in left())
            for event in left():
                event.reason = reason if counts[getattr(event, side)] < least else event.reason
    return left()


IDS = st.none() | st.integers(0, 4).map(str)
ROWS = st.lists(
    st.tuples(
        IDS, IDS, st.integers(-2, 3), st.integers(0, 4).map(float), st.sampled_from(("view", "buy")),
        st.sampled_from(("train", "valid", "test")),
    ),
    min_size=1,
    max_size=40,
)  # fmt: skip
SETTINGS = st.builds(
    CleaningSettings,
    bad_rows=st.just("reject"),
    keep_removed=st.just(True),
    event_types=st.sampled_from(((), ("buy",))),
    since=st.sampled_from((None, 1)),
    items_since=st.sampled_from((None, None, 2)),
    duplicates=st.sampled_from(("keep", "first", "last")),
    max_events=st.sampled_from((None, 3, 5)),
    long_histories=st.sampled_from(("cut", "drop")),
    min_events=st.integers(1, 3),
    min_item_events=st.integers(1, 3),
)


@settings(max_examples=25)
@given(ROWS, SETTINGS, st.integers(0, 40), st.integers(1, 9), st.booleans())
def test_every_step_leaves_what_plain_python_leaves(rows, chosen, in_first, size, has_split):
    in_first = min(in_first, len(rows))
    kinds = (pl.String, pl.String, pl.Int64, pl.Float64, pl.String, pl.String)
    frame = pl.DataFrame(rows, schema=dict(zip(NAMES, kinds, strict=True)), orient="row")
    files = {"a": frame[:in_first], "b": frame[in_first:]}
    chunks = [part.with_columns(file=pl.lit(name)) for name, whole in files.items() for part in whole.iter_slices(size)]
    events = [Event(row, *values[:5], values[5] if has_split else "train") for row, values in enumerate(rows)]
    left = clean_by_hand(events, chosen)
    try:
        used = select_events(chunks if has_split else [chunk.drop("split") for chunk in chunks], None, chosen, Ties())
    except DataError:
        assert not left
        return
    item_ids = used.items["item_id"].to_list()
    assert used.user_ids.to_list() == sorted({event.user for event in left})
    assert item_ids == sorted({event.item for event in left})
    assert [item_ids[item - 1] for item in used.item_idx] == [event.item for event in left]
    assert used.timestamps is not None and used.timestamps.tolist() == [event.time for event in left]
    assert used.offsets[1:].tolist() == [
        sum(event.user <= user for event in left)
        for user in used.user_ids  # users ascend
    ]
    several = 0 < in_first < len(rows)
    assert used.removed is not None
    assert [(row["file"], row["row"], row["reason"], row["user_id"]) for row in used.removed.to_pylist()] == [
        (
            ("interactions: b" if event.row >= in_first else "interactions: a") if several else "interactions",
            event.row - in_first if several and event.row >= in_first else event.row,
            event.reason.text,
            event.user,
        )
        for event in events
        if event.reason != Reason.KEPT
    ]
