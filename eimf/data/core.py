"""The iterated core: users and items with too few events are left out in turn, until all have enough.

Shapes: S events.
"""

import numpy as np

from eimf.data.counting import count_codes
from eimf.data.reasons import Reason


def iterated_core(user: np.ndarray, item: np.ndarray, min_user: int, min_item: int) -> np.ndarray:
    """Why each event is left out, [S] uint8 (`Reason`, KEPT if it is not). What remains is the largest set of events in
    which every user has `min_user` and every item `min_item` of them; it does not depend on the order of removal."""
    reason = np.zeros(len(user), np.uint8)
    left = None  # indices of the events that are left; None for all
    while True:
        removed = 0
        for column, smallest, why in (
            (item, min_item, Reason.FEW_ITEM_EVENTS),
            (user, min_user, Reason.FEW_USER_EVENTS),
        ):
            values = column if left is None else column[left]
            size = int(values.max(initial=-1)) + 1
            few = count_codes(values, size) < smallest if smallest > 1 else np.zeros(0, bool)
            if not few.any() or not (lost := few[values]).any():
                continue
            reason[np.flatnonzero(lost) if left is None else left[lost]] = why
            left = np.flatnonzero(~lost) if left is None else left[~lost]
            removed += int(lost.sum())
        if not removed:
            return reason
