"""Divide every user's events into training events and evaluation cases (METHOD, protocols).

Shapes: E events of all users, user by user in order, U users.
"""

from dataclasses import dataclass, field

import numpy as np

from eimf import schema
from eimf.config import SplitSettings
from eimf.data import protocols
from eimf.data.eval_cases import EvalCases
from eimf.data.held_out import cases_of, sampled_cases, trained_items
from eimf.data.protocols import Division
from eimf.errors import SettingError
from eimf.scratch import IN_MEMORY, ROWS, Scratch


@dataclass(frozen=True)
class Split:
    """`num_train` [U]: how many of a user's first events are for training. `cases`: what is predicted, by split.
    `counts`, for the manifest: users and events of the training; of each split the cases, the users who have none
    because they lack a history or relevant items, and the relevant items without a training event, if there are any."""

    num_train: np.ndarray
    cases: dict[str, EvalCases]
    counts: dict[str, int] = field(default_factory=dict)


def split_events(
    item_idx: np.ndarray,
    offsets: np.ndarray,
    settings: SplitSettings,
    *,
    times: np.ndarray | None,
    given: np.ndarray | None,
    first_row: np.ndarray,
    scratch: Scratch = IN_MEMORY,
) -> Split:
    """Split by the protocol of the settings; `eimf.data.protocols` has their rules.

    `item_idx` [E] and, if there are any, `times` [E] in seconds are those of all events; `offsets` [U + 1] tell whose.
    `given` [E] is 0 for training, 1 for validation and 2 for test, if the files say so; each user's events are sorted
    by it first. `first_row` [U] is the row of each user's first event in the files. Raises SettingError or DataError if
    the protocol needs what is not there, or leaves a part empty.
    """
    match settings.protocol:
        case "leave-one-out":
            division = protocols.leave_one_out(offsets)
        case "user-split":
            division = protocols.user_split(offsets, first_row, settings)
        case "temporal":
            division = protocols.temporal(offsets, times, settings, scratch)
        case "given":
            division = protocols.given(offsets, given, scratch)
    return _split(item_idx, offsets, division, settings, scratch.rows)


def leave_one_out(item_idx: np.ndarray, offsets: np.ndarray) -> Split:
    """The last event of each user is relevant in a test case, the one before it in a validation case; the history is
    what comes before, and all before the two is for training. `item_idx` [E], `offsets` [U + 1]. Raises DataError for a
    user with fewer than three events."""
    return _split(item_idx, offsets, protocols.leave_one_out(offsets), SplitSettings(), ROWS)


def _split(item_idx: np.ndarray, offsets: np.ndarray, division: Division, settings: SplitSettings, rows: int) -> Split:
    """The cases of a division, without those that `cold_items` and `max_cases` leave out. Raises SettingError if the
    training or a split is empty."""
    num_train, cases = division.num_train, {}
    counts = {"train_users": int(np.count_nonzero(num_train)), "train_events": int(num_train.sum())}
    if not counts["train_events"]:
        raise _nothing(settings, "training", "no event is for training")
    trained = trained_items(item_idx, offsets, num_train, rows)
    for number, (split, held_out) in enumerate(division.held_out.items()):
        drop_cold = settings.cold_items == "drop"
        every, of_split = cases_of(held_out, item_idx, offsets, trained, drop_cold=drop_cold, rows=rows)
        if not len(every):
            raise _nothing(settings, split, _why_none(of_split))
        cases[split] = sampled_cases(every, settings.max_cases or len(every), [settings.seed, number])
        of_split["cases"] = len(cases[split])
        counts |= {f"{split}_{name}": count for name, count in of_split.items() if count}
    return Split(num_train, cases, counts)


def _why_none(counts: dict[str, int]) -> str:
    users = f"{counts['without_history']} users without a history before it"
    return f"nothing is to be predicted ({users}, {counts['without_target']} without a relevant item)"


def _nothing(settings: SplitSettings, part: str, problem: str) -> SettingError:
    """The error of an empty part: `split.` and the setting that decides about it."""
    name, hint = "protocol", "use another protocol"
    if settings.protocol == "user-split":
        name, hint = f"{'test' if part == schema.TEST else 'valid'}_share", "change the shares, or add users"
    if settings.protocol == "temporal":
        by_date = f"{'test' if part == schema.TEST else 'valid'}_from"
        is_date = getattr(settings, by_date) is not None
        name = by_date if is_date else by_date.replace("from", "share")
        hint = "move the cut to a time when users with earlier events are active"
    label = {schema.VALID: "the validation", schema.TEST: "the test"}.get(part, "the training")
    return SettingError(f"split.{name}", f"{label} of {settings.protocol} is empty: {problem}", hint)
