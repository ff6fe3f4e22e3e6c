"""Why a row of the raw files is not used: the steps of cleaning in their order, and the reasons of each."""

from enum import IntEnum


class Reason(IntEnum):
    """Why an event is left out, in the order of the steps; of several reasons the first counts."""

    KEPT = 0
    MISSING_ID = 1
    LONG_ID = 2
    NO_TIME = 3
    NO_RATING = 4
    NO_EVENT_TYPE = 5
    NO_SPLIT = 6
    NO_ITEM_ROW = 7
    EVENT_TYPE = 8
    LOW_RATING = 9
    TOO_EARLY = 10
    TOO_LATE = 11
    OLD_ITEM = 12
    REPEATED = 13
    DUPLICATE = 14
    LONG_HISTORY = 15
    FEW_ITEM_EVENTS = 16
    FEW_USER_EVENTS = 17

    @property
    def step(self) -> str:
        """The step of cleaning that it belongs to, for people."""
        return _TEXTS[self][0]

    @property
    def text(self) -> str:
        """The reason, for people."""
        return _TEXTS[self][1]

    @property
    def is_bad(self) -> bool:
        """True if the row is broken: an error unless `cleaning.bad_rows` is "reject". The others are choices."""
        return self in _BAD


LONGEST_ID = 1000
"""Bytes of the longest id that is used."""

_TEXTS = {
    Reason.KEPT: ("", "kept"),
    Reason.MISSING_ID: ("types", "missing id"),
    Reason.LONG_ID: ("types", f"id of more than {LONGEST_ID} bytes"),
    Reason.NO_TIME: ("types", "missing or unusable time"),
    Reason.NO_RATING: ("types", "missing or unusable rating"),
    Reason.NO_EVENT_TYPE: ("types", "missing event type"),
    Reason.NO_SPLIT: ("types", "split that is not train, valid or test"),
    Reason.NO_ITEM_ROW: ("items", "item without a row"),
    Reason.EVENT_TYPE: ("event types", "other event type"),
    Reason.LOW_RATING: ("rating", "rating too low"),
    Reason.TOO_EARLY: ("period", "event before cleaning.since"),
    Reason.TOO_LATE: ("period", "event not before cleaning.until"),
    Reason.OLD_ITEM: ("new items", "item older than cleaning.items_since"),
    Reason.REPEATED: ("repeated events", "repeated event"),
    Reason.DUPLICATE: ("duplicates", "another event of the user with the item"),
    Reason.LONG_HISTORY: ("long histories", "history too long"),
    Reason.FEW_ITEM_EVENTS: ("short histories", "item with too few events"),
    Reason.FEW_USER_EVENTS: ("short histories", "user with too few events"),
}
_BAD = {
    Reason.MISSING_ID,
    Reason.LONG_ID,
    Reason.NO_TIME,
    Reason.NO_RATING,
    Reason.NO_EVENT_TYPE,
    Reason.NO_SPLIT,
    Reason.NO_ITEM_ROW,
    Reason.REPEATED,
}
