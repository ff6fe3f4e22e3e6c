"""Items that may be next for the users of a cluster: those that co-occur in training with what its users had.

Our decision: the similarity of item j to a cluster is the mean over its users of the mean over their training events i
of the co-occurrence s_ij (`eimf.data.cooccurrence`). Training events only.

Shapes: U users, N items, C clusters, n candidates of a cluster.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eimf.data.cooccurrence import Cooccurrence
from eimf.data.histories import Histories
from eimf.data.windows import flat_ranges


@dataclass(frozen=True)
class Candidates:
    """The candidates of a cluster: `item_idx` [n] and their `similarity` [n] to it."""

    item_idx: np.ndarray
    similarity: np.ndarray

    def first(self, count: int) -> "Candidates":
        """The first `count` of them, or all."""
        return Candidates(self.item_idx[:count], self.similarity[:count])

    def shuffled(self, seed: int, cluster: int) -> "Candidates":
        """The same in an order drawn by the seed, another one for every cluster."""
        order = np.random.default_rng([seed, cluster]).permutation(len(self.item_idx))
        return Candidates(self.item_idx[order], self.similarity[order])


def cluster_candidates(
    cooccurrence: Cooccurrence, histories: Histories, cluster: np.ndarray, typical: np.ndarray, usable: np.ndarray
) -> Iterator[Candidates]:
    """For each user in `typical`, all candidates of the user's cluster, best first; equal ones by number. They are
    `usable` [N] items that the user does not have in training. `cluster` [U] is that of each user."""
    members = np.argsort(cluster, kind="stable")
    of_member = cluster[members]
    for user in typical:
        first, last = np.searchsorted(of_member, [cluster[user], cluster[user] + 1])
        weight = _item_weights(histories, members[first:last])
        rows = np.flatnonzero(weight)
        item, pair = flat_ranges(cooccurrence.offsets[rows], np.diff(cooccurrence.offsets)[rows])
        terms = weight[rows][item] * cooccurrence.similarity[pair]
        similarity = np.bincount(cooccurrence.neighbor_row[pair], weights=terms, minlength=histories.num_items)
        similarity[_training_rows(histories, np.array([user]))] = 0
        similarity[~usable] = 0
        similar = np.flatnonzero(similarity)
        best = similar[np.argsort(-similarity[similar], kind="stable")]
        yield Candidates((best + 1).astype(np.int32), similarity[best].astype(np.float32))


def _item_weights(histories: Histories, users: np.ndarray) -> np.ndarray:
    """The mean over `users` of the share of each item in their training events, [N]."""
    length = histories.num_train[users]
    rows = _training_rows(histories, users)
    share = np.repeat(1 / np.maximum(length, 1), length) / len(users)
    return np.bincount(rows, weights=share, minlength=histories.num_items)


def _training_rows(histories: Histories, users: np.ndarray) -> np.ndarray:
    """Rows of the items in the training events of `users`, user by user."""
    _, event = histories.first_events(users, histories.num_train[users])
    rows: np.ndarray = histories.item_idx[event] - 1
    return rows
