"""Affinity propagation (Frey and Dueck 2007): clusters around users, the exemplars, whose number follows from the data.

The published code of EIMF clusters so (METHOD, stage one, 3). It compares all pairs of users in every round.
Similarities are cosines, which for unit vectors order and space pairs as squared distances do.

Shapes: n users, C clusters, S text width.
"""

from collections.abc import Callable

import numpy as np

from eimf.errors import SettingError

MOST_USERS = 10_000
"""Users whose messages take 1.6 GB, and a few minutes on one core."""
ROUNDS = 200
"""Most rounds."""
_DAMPING, _STABLE_ROUNDS = 0.5, 15


def exemplars(
    vectors: np.ndarray, *, seed: int, on_progress: Callable[[int], None], most: int = MOST_USERS
) -> np.ndarray:
    """The rows of the exemplars [C] of unit vectors [n, S], in order. No two have the same vector.

    A user's preference to be one is the median of all similarities between two users. Messages are damped by half,
    until the exemplars stay the same for 15 rounds, at most 200 rounds. `seed` draws the small noise that decides
    between equal ones. The counts given to `on_progress` add up to n x 200. Raises SettingError for more than `most`
    users, and if no user becomes an exemplar.
    """
    if len(vectors) > most:
        size = 4 * 4 * len(vectors) ** 2 / 1e9
        problem = f"affinity-propagation, but {len(vectors):,} users have {size:,.0f} GB of messages"
        raise SettingError("cluster.method", problem, f'set it to "kmeans", or take at most {most:,} users')
    if len(vectors) == 1:
        return np.zeros(1, np.int64)
    similarity = _similarities(vectors, np.random.default_rng(seed))
    is_exemplar = _propagate(similarity, on_progress)
    if not is_exemplar.any():
        problem = f"affinity-propagation found no exemplar among {len(vectors)} users in {ROUNDS} rounds"
        raise SettingError("cluster.method", problem, 'set it to "kmeans"')
    rows = np.flatnonzero(is_exemplar)
    cluster = similarity[:, rows].argmax(axis=1)
    cluster[rows] = np.arange(len(rows))
    members = (np.flatnonzero(cluster == number) for number in range(len(rows)))
    best = [int(group[similarity[np.ix_(group, group)].sum(axis=0).argmax()]) for group in members]
    _, first = np.unique(vectors[best], axis=0, return_index=True)
    return np.sort(np.array(best)[first])


def _similarities(vectors: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Cosines of all pairs [n, n], with a little noise, and the preference on the diagonal."""
    similarity = vectors @ vectors.T
    preference = np.median(similarity[~np.eye(len(vectors), dtype=bool)])
    similarity += 1e-6 * random.standard_normal(similarity.shape, dtype=np.float32)
    np.fill_diagonal(similarity, preference)
    return similarity


def _propagate(similarity: np.ndarray, on_progress: Callable[[int], None]) -> np.ndarray:
    """Whether each user is an exemplar, [n], by equations 1 and 2 of the paper."""
    row = np.arange(len(similarity))
    responsibility, availability = np.zeros_like(similarity), np.zeros_like(similarity)
    before, stable = np.zeros(len(similarity), bool), 0
    for done in range(1, ROUNDS + 1):
        total = availability + similarity
        best = total.argmax(axis=1)
        largest = total[row, best]
        total[row, best] = -np.inf
        second = total.max(axis=1)
        np.subtract(similarity, largest[:, None], out=total)
        total[row, best] = similarity[row, best] - second
        responsibility *= _DAMPING
        responsibility += (1 - _DAMPING) * total
        np.maximum(responsibility, 0, out=total)
        total[row, row] = responsibility[row, row]
        total = total.sum(axis=0) - total
        own = total[row, row]
        np.minimum(total, 0, out=total)
        total[row, row] = own
        availability *= _DAMPING
        availability += (1 - _DAMPING) * total
        is_exemplar = availability[row, row] + responsibility[row, row] > 0
        stable = stable + 1 if is_exemplar.any() and (is_exemplar == before).all() else 0
        before = is_exemplar
        on_progress(len(similarity) * (ROUNDS - done + 1 if stable == _STABLE_ROUNDS else 1))
        if stable == _STABLE_ROUNDS:
            break
    return before
