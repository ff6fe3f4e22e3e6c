"""The iterated core: users and items with too few events are left out in turn, until all have enough.

Shapes: S events.
"""

import numpy as np

from eimf.data.counting import count_codes
from eimf.data.reasons import Reason
from eimf.scratch import IN_MEMORY, Scratch, let_go


def iterated_core(
    user: np.ndarray, item: np.ndarray, min_user: int, min_item: int, *, scratch: Scratch = IN_MEMORY
) -> np.ndarray:
    """Why each event is left out, [S] uint8 (`Reason`, KEPT if it is not). What remains is the largest set of events in
    which every user has `min_user` and every item `min_item` of them; it does not depend on the order of removal."""
    reason = scratch.zeros(len(user), np.uint8)
    items, users = (count_codes(column, int(column.max(initial=-1)) + 1) for column in (item, user))
    sides = ((item, items, min_item, Reason.FEW_ITEM_EVENTS), (user, users, min_user, Reason.FEW_USER_EVENTS))
    while True:
        removed = False
        for column, counts, smallest, why in sides:
            few = (counts > 0) & (counts < smallest)
            if not few.any():
                continue
            removed = True
            for block in scratch.blocks(len(reason)):
                lost = np.flatnonzero(few[column[block]] & (reason[block] == Reason.KEPT))
                reason[block][lost] = why
                np.subtract.at(items, item[block][lost], 1)
                np.subtract.at(users, user[block][lost], 1)
                let_go(user, item, reason)
        if not removed:
            return reason
