"""What was found for one user, as the answer: ids, scores and reasons.

Shapes: n recommended items, K interests, D width, N items.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eimf.serving.index import Found
from eimf.serving.labels import Labels
from eimf.serving.query import History
from eimf.serving.reasons import names_of, names_of_picked, reasons
from eimf.serving.result import Reason, Recommendation, Recommendations


def answer_of(
    found: Found,
    row: int,
    history: History,
    *,
    interests: np.ndarray | None,
    picked: np.ndarray | None = None,
    unknown: Sequence[str] = (),
    window: int,
    item_table: np.ndarray,
    item_ids: Sequence[str],
    labels: Labels | None,
) -> Recommendations:
    """The answer of row `row` of what was found for a user with this history and `interests` [K, D], None without a
    history; `picked` are the labels that the user picked, if any; only the last `window` events are reasons. `unknown`
    are ids of the request, in addition to those of the history."""
    left = np.count_nonzero(found.item_idx[row])
    item_idx, scores, interest = (part[row, :left] for part in (found.item_idx, found.scores, found.interest))
    if interests is None:
        names = names_of(item_idx, interest, item_table[:1], labels, item_table)
        why = [Reason(-1, name) for name in names]
    else:
        if picked is not None:
            interest = (item_table[item_idx] @ interests.T).argmax(axis=1)
        why = reasons(
            item_idx,
            interest,
            history=history.item_idx[-window:],
            interests=interests,
            item_table=item_table,
            item_ids=item_ids,
            labels=labels,
        )
    if picked is not None and labels is not None:
        names = names_of_picked(item_idx, picked, labels, item_table)
        why = [replace(reason, label=name) for reason, name in zip(why, names, strict=True)]
    columns = zip(item_idx.tolist(), scores.tolist(), why, strict=True)
    items = tuple(Recommendation(item_ids[number - 1], score, reason) for number, score, reason in columns)
    ids = [*history.unknown, *unknown]
    return Recommendations(items, tuple(dict.fromkeys(ids)) if ids else ())
