"""Labels: the LLM's phrases as names of interests and items, in the space of the items.

Text vectors are at hand here and nowhere later. They decide which phrases are names at all, and from which cosine in
the space of the items a name can be trusted; only vectors of that space, label numbers and names leave.

1. Phrases that say the same are one (`eimf.export.phrases`).
2. A phrase without grounding is dropped: one that is no nearer to the texts of its evidence than other evidence is.
3. A label stands at the mean of the unit vectors of the items that its phrases name as evidence.
4. Agreement of a label with an item: the share of all other labels whose text is farther from the item's text, 1/2 for
   a label that has nothing to do with it. The threshold is the cosine in the space of the items from which the
   agreement is at least AGREEMENT. No label beats a wrong one.

Shapes: M phrases, L labels, N items, D width of the items' vectors, S width of the texts', Q users, K interests.
"""

from dataclasses import dataclass

import numpy as np

from eimf.export.phrases import Phrases, merge, readable
from eimf.serving.labels import NO_LABEL, unit

AGREEMENT = 0.8
"""A label is given where its agreement with the text is at least this in expectation. Our decision."""
NEVER = 2.0
"""A threshold that no cosine reaches."""
_EXAMPLES = 8
"""Items kept to show what a label means."""
_BLOCKS = 50
"""Pairs are averaged in so many blocks before a threshold is read from them."""


@dataclass(frozen=True)
class BuiltLabels:
    """What a bundle holds of the labels. `names` [L]; `interest_ids` [L] rows of the `interests` artifact behind each;
    `examples` [L] item_idx that show it; `vectors` [L, D] unit vectors; `item_labels` [N] the label of each item or -1;
    `thresholds`: the cosine from which an item, and an interest, has a label; `figures`: counts and agreements."""

    names: list[str]
    interest_ids: list[list[int]]
    examples: list[list[int]]
    vectors: np.ndarray
    item_labels: np.ndarray
    thresholds: dict[str, float]
    figures: dict[str, float]

    def __len__(self) -> int:
        return len(self.names)


def build_labels(
    phrases: Phrases, text_vectors: np.ndarray, item_vectors: np.ndarray, interests: np.ndarray | None = None
) -> BuiltLabels:
    """Labels for a trained backbone with `item_vectors` [N, D], from the LLM's `phrases` and the items' `text_vectors`
    [N, S]. `interests` [Q, K, D] are those of a sample of users, from which the threshold of interests is read; without
    them it is that of the items. Maybe there is no label at all: then L is 0."""
    grounded = phrases.take(np.flatnonzero(is_grounded(phrases, text_vectors)))
    groups = merge(grounded)
    texts = np.stack([grounded.vectors[rows[0]] for rows in groups]) if groups else grounded.vectors[:0]
    vectors = place(grounded, groups, item_vectors)
    agreement = agreements(texts, text_vectors)  # [N, L]
    item_cosine = unit(item_vectors) @ vectors.T  # [N, L]
    item_threshold, item_labels = _nearest_above(item_cosine, agreement)
    interest_threshold = item_threshold
    if interests is not None and len(groups):
        interest_threshold = threshold_of_interests(interests, item_vectors, vectors, agreement)
    thresholds = {"item": item_threshold, "interest": interest_threshold}
    figures = {"phrases": len(phrases), "grounded": len(grounded), "labels": len(groups)}
    figures["items_with_label"] = float((item_labels >= 0).mean())
    return BuiltLabels(
        [readable(grounded.texts[rows[0]]) for rows in groups],
        [sorted(grounded.interest_ids[rows].tolist()) for rows in groups],
        [_examples(cosine) for cosine in item_cosine.T],
        vectors.astype(np.float32),
        item_labels.astype(np.int32),
        thresholds,
        figures,
    )


def is_grounded(phrases: Phrases, text_vectors: np.ndarray) -> np.ndarray:
    """Which phrases are nearer to the mean text of their evidence than chance explains, [M] bool.

    The chance is the distribution of the same cosine with the evidence of every other phrase. A value belongs to the
    true pairs if it lies above the point where the two distributions differ most: there both are equally likely.
    """
    has_evidence = np.array([len(rows) > 0 for rows in phrases.evidence], bool)
    if has_evidence.sum() < 2:
        return has_evidence
    known = phrases.take(np.flatnonzero(has_evidence))
    evidence = np.stack([text_vectors[np.array(rows) - 1].mean(axis=0) for rows in known.evidence])
    cosine = unit(known.vectors - known.vectors.mean(axis=0)) @ unit(evidence - evidence.mean(axis=0)).T  # [M, M]
    other = cosine[~np.eye(len(cosine), dtype=bool)]
    own = cosine.diagonal()
    point = most_different(own, other)
    grounded = np.zeros(len(phrases), bool)
    grounded[has_evidence] = own > point
    return grounded


def most_different(true: np.ndarray, chance: np.ndarray) -> float:
    """The point where the share of `true` values above it exceeds that of `chance` by most; infinity if it never does
    by more than chance would (5 %, Kolmogorov and Smirnov)."""
    points = np.sort(true)
    above = 1 - np.arange(1, len(points) + 1) / len(points)
    difference = above - (1 - np.searchsorted(np.sort(chance), points, side="right") / len(chance))
    difference = np.concatenate([[0.0], difference])
    if difference.max() < 1.22 / np.sqrt(len(true)):
        # Even without any value below it, everything above the smallest may be true.
        return np.inf
    return float(np.concatenate([[-np.inf], points])[difference.argmax()])


def place(phrases: Phrases, groups: list[np.ndarray], item_vectors: np.ndarray) -> np.ndarray:
    """Unit vectors of the labels, [L, D]: the mean unit vector of all items that the phrases of a group name."""
    items = unit(item_vectors)
    means = [items[np.concatenate([phrases.evidence[row] for row in rows]) - 1].mean(axis=0) for rows in groups]
    return unit(np.stack(means)) if means else np.zeros((0, item_vectors.shape[1]), np.float32)


def agreements(label_texts: np.ndarray, text_vectors: np.ndarray) -> np.ndarray:
    """The share of other labels whose text is farther from the item's text, [N, L]; 1/2 if there is only one label."""
    cosine = text_vectors @ label_texts.T  # [N, L]
    rank = cosine.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    count = cosine.shape[1]
    return rank / (count - 1) if count > 1 else np.full(cosine.shape, 0.5)


def threshold(cosine: np.ndarray, agreement: np.ndarray, level: float = AGREEMENT) -> float:
    """The least cosine from which pairs agree to `level` in expectation; NEVER if none do.

    The expectation is the nondecreasing function of the cosine that fits best (isotonic regression, over blocks of
    pairs of similar cosine, so that a few pairs do not decide).
    """
    order = cosine.argsort()
    blocks = np.array_split(order, max(1, min(_BLOCKS, len(order) // 20)))
    fit = isotonic(np.array([agreement[rows].mean() for rows in blocks]), np.array([len(rows) for rows in blocks]))
    reached = np.flatnonzero(fit >= level)
    return float(cosine[blocks[reached[0]][0]]) if len(reached) and len(order) else NEVER


def isotonic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The nondecreasing sequence nearest to `values`, by weighted squares (pool adjacent violators)."""
    means: list[float] = []
    sizes: list[float] = []
    counts: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        means, sizes, counts = [*means, value], [*sizes, weight], [*counts, 1]
        while len(means) > 1 and means[-2] >= means[-1]:
            size = sizes[-2] + sizes[-1]
            means[-2:] = [(means[-2] * sizes[-2] + means[-1] * sizes[-1]) / size]
            sizes[-2:], counts[-2:] = [size], [counts[-2] + counts[-1]]
    return np.repeat(means, counts)


def threshold_of_interests(
    interests: np.ndarray, item_vectors: np.ndarray, vectors: np.ndarray, agreement: np.ndarray, count: int = 10
) -> float:
    """The threshold for interests, judged by the items that each of the users' `interests` [Q, K, D] brings: the best
    `count` items by dot product."""
    flat = interests.reshape(-1, interests.shape[-1])
    cosine = unit(flat) @ vectors.T  # [Q K, L]
    label = cosine.argmax(axis=1)
    brought = np.argpartition(-(flat @ item_vectors.T), min(count, len(item_vectors) - 1), axis=1)[:, :count]
    return threshold(cosine.max(axis=1), agreement[brought, label[:, None]].mean(axis=1))


def _nearest_above(cosine: np.ndarray, agreement: np.ndarray) -> tuple[float, np.ndarray]:
    """The threshold of the items, and the nearest label of each if it reaches it, [N]."""
    if not cosine.shape[1]:
        return NEVER, np.full(len(cosine), NO_LABEL)
    label, best = cosine.argmax(axis=1), cosine.max(axis=1)
    limit = threshold(best, agreement[np.arange(len(label)), label])
    return limit, np.where(best >= limit, label, NO_LABEL)


def _examples(cosine: np.ndarray) -> list[int]:
    """item_idx of the items nearest to a label, by their `cosine` [N] to it."""
    return (np.argsort(-cosine, kind="stable")[:_EXAMPLES] + 1).tolist()
