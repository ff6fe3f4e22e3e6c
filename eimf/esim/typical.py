"""The real users who stand for a cluster (METHOD, stage one, 4): selectors behind one function.

Whatever the selector, the same inputs give the same table; each cluster with a member that has a training event has a
typical user, who is such a member; a cluster has `per_cluster` of them, or all its members, if these are fewer; and a
member with little history is chosen only if the cluster has no other.

Shapes: U users, N items, n candidates (users who may be chosen), S text width.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.data.histories import Histories
from eimf.data.windows import flat_ranges
from eimf.esim.cover import greedy_cover

NEIGHBORS = 16
"""Members whose mean cosine to a member is its density: the nearest ones."""
_MOST_COMPARED = 4096
"""Members of a cluster that are compared with each other; of a larger one, so many are drawn."""


@dataclass(frozen=True)
class Population:
    """`cluster` [U] of each user (-1: none), the cosine `similarity` [U] to its centroid, the number `num_train` [U] of
    training events; for `dense` also the users' unit `vectors` [U, S], and to cover something their `histories`, of
    which only training events count."""

    cluster: np.ndarray
    similarity: np.ndarray
    num_train: np.ndarray
    vectors: np.ndarray | None = None
    histories: Histories | None = None

    def candidates(self, min_history: int) -> np.ndarray:
        """The users who may be chosen [n], the most similar to their centroid first, ties to the lower user_idx: the
        members of each cluster with at least `min_history` training events, or if it has none, all members with any."""
        users = np.flatnonzero((self.cluster >= 0) & (self.num_train > 0))
        long_enough = self.num_train[users] >= min_history
        has_long = np.zeros(int(self.cluster.max(initial=-1)) + 1, bool)
        has_long[self.cluster[users[long_enough]]] = True
        users = users[long_enough | ~has_long[self.cluster[users]]]
        return users[np.lexsort((users, -self.similarity[users]))]


def typical_users(
    population: Population,
    *,
    selector: str = "nearest",
    per_cluster: int = 1,
    min_history: int,
    shown: int = 1,
    seed: int = 0,
) -> pa.Table:
    """`schema.TYPICAL_USERS`: the typical users of each cluster, the one who was chosen first at its top.

    `selector` is a value of `cluster.typical`:
    nearest      the members most similar to the centroid;
    dense        the member with the largest density, the mean cosine to its 16 nearest fellow members; each further
                 one has the largest product of density and of 1 - cosine to the nearest chosen one;
    cover-items  those who together had the most items, or
    cover-events the items with the most training events, within the last `shown` events of each (`eimf.esim.cover`).
    `seed` draws the members of a very large cluster whose densities are computed.
    """
    users = population.candidates(min_history)
    cluster = population.cluster[users]
    if selector == "nearest":
        chosen = _first_of_each(cluster, per_cluster)
    elif selector == "dense":
        chosen = _dense(population, users, cluster, per_cluster, seed)
    else:
        assert population.histories is not None
        row, item_row = _last_items(population.histories, users, shown)
        frequency = population.histories.frequency()
        worth = np.ones_like(frequency) if selector == "cover-items" else frequency
        chosen = greedy_cover(cluster, row, item_row, worth, per_cluster)
    chosen = chosen[np.argsort(cluster[chosen], kind="stable")]
    return pa.table([cluster[chosen], users[chosen].astype(np.int32)], schema=schema.TYPICAL_USERS)


def _first_of_each(cluster: np.ndarray, per_cluster: int) -> np.ndarray:
    """The places of the first `per_cluster` candidates of each cluster."""
    order = np.argsort(cluster, kind="stable")
    rank = np.arange(len(order)) - np.searchsorted(cluster[order], cluster[order])
    first: np.ndarray = order[rank < per_cluster]
    return first


def _dense(population: Population, users: np.ndarray, cluster: np.ndarray, per_cluster: int, seed: int) -> np.ndarray:
    assert population.vectors is not None
    order = np.argsort(cluster, kind="stable")
    numbers, starts = np.unique(cluster[order], return_index=True)
    chosen = []
    for number, members in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
        if len(members) > _MOST_COMPARED:
            random = np.random.default_rng([seed, number])
            members = members[np.sort(random.choice(len(members), _MOST_COMPARED, replace=False))]
        chosen.append(members[densest(population.vectors[users[members]], per_cluster)])
    return np.concatenate(chosen) if chosen else order


def densest(vectors: np.ndarray, count: int) -> np.ndarray:
    """The rows of at most `count` of some unit vectors [n, S], the densest first, as `dense` chooses them; ties go to
    the lower row."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    near = min(NEIGHBORS, len(vectors) - 1)
    density = np.sort(cosines, axis=1)[:, len(vectors) - near :].mean(axis=1) if near else np.ones(1)
    # A density below 0 would turn the order by distance around.
    chosen, density = [int(density.argmax())], density.clip(1e-6)
    nearest = np.full(len(vectors), -1.0)
    while len(chosen) < min(count, len(vectors)):
        nearest = np.maximum(nearest, cosines[chosen[-1]])
        score = density * (1 - nearest).clip(0)
        score[chosen] = -1
        chosen.append(int(score.argmax()))
    return np.array(chosen)


def _last_items(histories: Histories, users: np.ndarray, shown: int) -> tuple[np.ndarray, np.ndarray]:
    """The items in the last `shown` training events of each of `users`, each once: flat, the place in `users` and the
    row of the item."""
    length = np.minimum(histories.num_train[users], shown)
    row, event = flat_ranges(histories.offsets[users] + histories.num_train[users] - length, length)
    pair = np.unique(row.astype(np.int64) * histories.num_items + histories.item_idx[event] - 1)
    return pair // histories.num_items, pair % histories.num_items


def kept_or_nearest(before: pa.Table, radius: float, population: Population, min_history: int) -> tuple[pa.Table, int]:
    """`schema.TYPICAL_USERS` of an extension, one a cluster: the first of the typical users `before` of a cluster who
    is still in the cluster and at least `radius` similar to its centroid; otherwise the nearest one. And how many are
    as before."""
    nearest = typical_users(population, min_history=min_history)
    clusters, users = (nearest[name].to_numpy().copy() for name in (schema.CLUSTER, schema.USER))
    old_cluster, old_user = (before[name].to_numpy() for name in (schema.CLUSTER, schema.USER))
    fits = (population.cluster[old_user] == old_cluster) & (population.similarity[old_user] >= radius)
    kept, first = np.unique(old_cluster[fits], return_index=True)
    users[np.searchsorted(clusters, kept)] = old_user[fits][first]  # a cluster with a member that fits is not empty
    return pa.table([clusters, users], schema=schema.TYPICAL_USERS), len(kept)
