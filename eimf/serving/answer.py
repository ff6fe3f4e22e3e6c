"""From the items found for one user to the answer: ids, scores and reasons.

Shapes: n recommended items, K interests, D width, W base width, N items.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eimf.serving.index import Found
from eimf.serving.labels import Labels
from eimf.serving.query import History
from eimf.serving.reasons import reasons
from eimf.serving.result import Recommendation, Recommendations


@dataclass(frozen=True)
class AnswerWriter:
    """Writes answers in the ids of one catalogue."""

    item_table: np.ndarray
    """[N + 1, D]."""
    item_ids: Sequence[str]
    """The id of `item_idx` is `item_ids[item_idx - 1]`."""
    labels: Labels | None
    window: int
    """Only the last so many events of a history are reasons: the tower sees no others."""
    base_width: int
    """W: reasons are cosines, and those are taken in the backbone's own space, without further coordinates."""

    def write(
        self,
        found: Found,
        row: int,
        history: History,
        interests: np.ndarray | None,
        *,
        picked: Sequence[int] = (),
        unknown: Sequence[str] = (),
    ) -> Recommendations:
        """The answer of row `row` of what was found, for a user with this history and `interests` [K, D], None without
        a history, who picked the labels `picked`. `unknown` are ids of the request, in addition to the history's."""
        num_found = np.count_nonzero(found.item_idx[row])
        columns = (found.item_idx, found.scores, found.interest)
        item_idx, scores, interest = (column[row, :num_found] for column in columns)
        if interests is not None and len(picked):  # the scores are not those of an interest alone
            interest = (self.item_table[item_idx] @ interests.T).argmax(axis=1)
        why = reasons(
            item_idx,
            interest,
            history=history.item_idx[-self.window :],
            interests=None if interests is None else interests[:, : self.base_width],
            picked=picked,
            item_table=self.item_table[:, : self.base_width],
            item_ids=self.item_ids,
            labels=self.labels,
        )
        rows = zip(item_idx.tolist(), scores.tolist(), why, strict=True)
        items = tuple(Recommendation(self.item_ids[number - 1], score, reason) for number, score, reason in rows)
        return Recommendations(items, tuple(dict.fromkeys([*history.unknown, *unknown])))
