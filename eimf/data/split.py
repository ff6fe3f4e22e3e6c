"""Protocols that divide every user's events into training events and evaluation cases, a function each.

Shapes: E events of all users, user by user in order, U users.
"""

from dataclasses import dataclass

import numpy as np

from eimf import schema
from eimf.data.eval_cases import EvalCases
from eimf.errors import DataError


@dataclass(frozen=True)
class Split:
    """`num_train` [U]: how many of a user's first events are for training. `cases`: what is predicted, by split."""

    num_train: np.ndarray
    cases: dict[str, EvalCases]


def leave_one_out(item_idx: np.ndarray, offsets: np.ndarray) -> Split:
    """The last event of each user is relevant in a test case, the one before it in a validation case; the history is
    what comes before, and all before the two is for training. `item_idx` [E], `offsets` [U + 1]. Raises DataError for a
    user with fewer than three events."""
    length = np.diff(offsets)
    if (short := length < 3).any():
        problem = f"user {int(short.argmax())} has {length[short.argmax()]} events"
        raise DataError("split", problem, "leave-one-out needs one to train on, one to validate and one to test")
    users = np.arange(len(length))

    def cases(held_out: int) -> EvalCases:
        history_end = length - held_out
        return EvalCases(users, history_end, np.arange(len(users) + 1), item_idx[offsets[:-1] + history_end])

    return Split(length - 2, {schema.VALID: cases(2), schema.TEST: cases(1)})
