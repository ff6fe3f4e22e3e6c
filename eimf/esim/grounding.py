"""Grounding: how near an interest's text is to the items that its evidence names, in the space of the texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.vectors import normalize


@dataclass(frozen=True)
class Grounding:
    """The grounding of each interest [M], NaN without evidence, and that with another user's evidence: `shuffled`."""

    of_interest: np.ndarray
    shuffled: np.ndarray


def read_grounding(item_vectors: pa.Table, interests: pa.Table, interest_vectors: pa.Table, seed: int) -> Grounding:
    """From the tables of `item_vectors`, `interests` and `interest_vectors`, the last two row by row. The vectors are
    centred at the mean of the items: this tells a pairing from a shuffled one better than without (tests/studies)."""
    items = schema.vectors_of(item_vectors)
    center = items.mean(axis=0)
    texts = schema.vectors_of(interest_vectors)
    means = evidence_vectors(items, interests[schema.EVIDENCE].to_pylist())
    others = means[another_user(interests[schema.USER].to_numpy(), seed)]
    return Grounding(cosines(texts, means, center), cosines(texts, others, center))


def evidence_vectors(item_vectors: np.ndarray, evidence: Sequence[Sequence[int]]) -> np.ndarray:
    """The mean of the item vectors [N, S] over each interest's evidence (item_idx, from 1): [M, S], not normalised; a
    row of NaN for an interest without evidence."""
    rows = [item_vectors[np.asarray(items, np.int64) - 1].mean(axis=0) for items in evidence if items]
    means = np.full((len(evidence), item_vectors.shape[1]), np.nan, np.float32)
    if rows:
        means[[number for number, items in enumerate(evidence) if items]] = rows
    return means


def cosines(interest_vectors: np.ndarray, evidence_means: np.ndarray, center: np.ndarray) -> np.ndarray:
    """The grounding of each interest: the cosine of its vector [M, S] and of the mean vector of its evidence [M, S],
    both without their common part `center` [S]. NaN for an interest without evidence."""
    products = normalize(interest_vectors - center) * normalize(evidence_means - center)
    return products.sum(axis=1).astype(np.float32)


def another_user(user_idx: np.ndarray, seed: int) -> np.ndarray:
    """For every interest the number of one of another user, at random, for the shuffled pairing: [M]. One's own if
    there is only one user."""
    order = np.argsort(user_idx, kind="stable")
    sorted_users = user_idx[order]
    first, last = np.searchsorted(sorted_users, user_idx), np.searchsorted(sorted_users, user_idx, side="right")
    rest = len(user_idx) - (last - first)  # interests of others: those before and those after one's own
    drawn = (np.random.default_rng(seed).random(len(user_idx)) * rest).astype(np.int64)
    others = order[np.minimum(np.where(drawn < first, drawn, drawn + last - first), len(user_idx) - 1)]
    return np.where(rest > 0, others, np.arange(len(user_idx)))
