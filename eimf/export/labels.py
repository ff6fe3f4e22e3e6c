"""Labels: the LLM's phrases as names of interests and items, in the space of the items.

Text vectors are at hand here and nowhere later. They decide which phrases are names at all, and which pairs of a label
and an item can be trusted; only vectors of the items' space, label numbers and names leave.

1. A phrase without grounding is dropped: one that is no nearer to the texts of its evidence than to other evidence.
2. Phrases that say the same are one label (`eimf.export.phrases`).
3. A label stands between two places: the mean unit vector of the items that its phrases name as evidence, and the image
   of its text under an affine map of the items' texts to their vectors (ridge regression). How much the evidence counts
   is chosen so that for most items the nearest label can be trusted and agrees: a small LLM's evidence is arbitrary, a
   large one's better than the map.
4. Thresholds are the cosines in the space of the items from which a nearest label agrees with the texts to AGREEMENT
   (`eimf.export.agreement`). An item has the nearest label that agrees with its own text to FITTING, if it reaches the
   threshold. A label that no item could have is dropped. No label is better than a wrong one.

All cosines are taken in the first W coordinates: where the backbone places the items. The further coordinates of a
calibrated one say what else sells an item, on a scale of their own, and would move every item towards the popular ones.
They count where it matters which items an interest brings.

Shapes: M phrases, L labels, N items, D width of the items' vectors, W base width, S width of the texts', Q users, K
interests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eimf.export.agreement import NEVER, agreeing, agreement, most_different, threshold
from eimf.export.phrases import Phrases, merge, readable
from eimf.serving.labels import NO_LABEL
from eimf.vectors import unit

AGREEMENT = 0.9
"""What a nearest label must reach in expectation. Our decision."""
FITTING = 0.98
"""What a label must reach with the text of an item that has it. Our decision."""
EVIDENCE_SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""How much the evidence may count in a label's place, in addition to the map of its text."""
RIDGE = 0.01
"""Penalty of the map, in units of the mean square norm of a text."""
_EXAMPLES = 8
"""Items kept to show what a label means."""
_BLOCK = 1024
"""Items, or interests, looked at together."""
_SAMPLE = 20_000
"""Items that choose the evidence's share."""
_PAIRED = 2_000
"""Phrases that are paired with each other's evidence, to see what chance does."""
_INTERESTS = 4_000
"""Interests of users that the threshold of interests is read from."""
_BROUGHT = 10
"""Items by which an interest is judged: the best by dot product."""


@dataclass(frozen=True)
class BuiltLabels:
    """What a bundle holds of the labels. `names` [L]; `interest_ids` [L] rows of the `interests` artifact behind each;
    `examples` [L] item_idx that show it; `vectors` [L, W] unit vectors; `item_labels` [N] the label of each item or -1;
    `thresholds`: the cosine from which an `item`, and an `interest`, has a label; `figures`: counts and agreements."""

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
    phrases: Phrases,
    text_vectors: np.ndarray,
    item_vectors: np.ndarray,
    interests: np.ndarray | None = None,
    *,
    base_width: int | None = None,
    level: float = AGREEMENT,
) -> BuiltLabels:
    """Labels for a trained backbone with `item_vectors` [N, D], of which the first `base_width` W are its own (None:
    all), from the LLM's `phrases` and the items' `text_vectors` [N, S], both of unit length. `interests`
    [Q, K, D] are those of a sample of users, from which the threshold of interests is read; without them no interest
    has a label of its own. If nothing can be trusted, L is 0.
    """
    base_width = base_width or item_vectors.shape[1]
    places = item_vectors[:, :base_width]
    grounded = phrases.take(np.flatnonzero(is_grounded(phrases, text_vectors)))
    groups = merge(grounded)
    texts = np.stack([grounded.vectors[rows[0]] for rows in groups]) if groups else grounded.vectors[:0]
    share, vectors = place(grounded, groups, texts, text_vectors, places, level)
    items = _look_at_items(vectors, texts, places, text_vectors, level)
    kept = np.flatnonzero(items.example_cosine[:, 0] >= items.threshold)
    number = np.full(len(groups) + 1, NO_LABEL)  # the last entry: no label
    number[kept] = np.arange(len(kept))
    item_labels = number[np.where(items.cosine >= items.threshold, items.label, NO_LABEL)]
    vectors, texts, groups = vectors[kept], texts[kept], [groups[label] for label in kept]
    of_interests = NEVER
    if interests is not None and interests.shape[1] > 1:
        of_interests = threshold_of_interests(interests, vectors, texts, item_vectors, text_vectors, level)
    return BuiltLabels(
        [readable(grounded.texts[rows[0]]) for rows in groups],
        [sorted(grounded.interest_ids[rows].tolist()) for rows in groups],
        [_shown(items.examples[label], items.example_cosine[label] >= items.threshold) for label in kept],
        vectors.astype(np.float32),
        item_labels.astype(np.int32),
        {"item": items.threshold, "interest": of_interests},
        {
            "phrases": float(len(phrases)),
            "grounded": float(len(grounded)),
            "evidence_share": share,
            "agreement": items.agreement,
            "level": level,
            "items_with_label": float((item_labels >= 0).mean()),
        },
    )


def is_grounded(phrases: Phrases, text_vectors: np.ndarray) -> np.ndarray:
    """Which phrases are nearer to the mean text of their evidence than chance explains, [M] bool.

    Chance is the distribution of the same cosine with the evidence of other phrases. The vectors are centred, so that
    the common part of all texts of a catalogue does not count. None is grounded if the two distributions do not differ.
    """
    known = np.flatnonzero([len(items) > 0 for items in phrases.evidence])
    grounded = np.zeros(len(phrases), bool)
    if len(known) < 2:
        return grounded
    evidence = np.stack([text_vectors[np.array(phrases.evidence[row]) - 1].mean(axis=0) for row in known.tolist()])
    texts = phrases.vectors[known]
    texts, evidence = unit(texts - texts.mean(axis=0)), unit(evidence - evidence.mean(axis=0))
    sample = np.linspace(0, len(known) - 1, min(len(known), _PAIRED)).astype(np.int64)
    chance = (texts[sample] @ evidence[sample].T)[~np.eye(len(sample), dtype=bool)]
    own = (texts * evidence).sum(axis=1)
    grounded[known] = own >= most_different(own, chance)
    return grounded


def place(
    phrases: Phrases,
    groups: Sequence[np.ndarray],
    texts: np.ndarray,
    text_vectors: np.ndarray,
    item_vectors: np.ndarray,
    level: float,
) -> tuple[float, np.ndarray]:
    """The share of the evidence, and the unit vectors of the labels, [L, W]; `groups` [L] are rows of `phrases`, and
    `texts` [L, S] the labels' texts. The share is the one with which the nearest label can be trusted and agrees
    for most items."""
    if not groups:
        return EVIDENCE_SHARES[0], np.zeros((0, item_vectors.shape[1]), np.float32)
    items = unit(item_vectors)
    named = [np.concatenate([phrases.evidence[row] for row in rows]).astype(np.int64) - 1 for rows in groups]
    by_evidence = unit(np.stack([items[rows].mean(axis=0) for rows in named]))
    by_text = unit(map_of_texts(text_vectors, items, texts))
    sample = np.linspace(0, len(items) - 1, min(len(items), _SAMPLE)).astype(np.int64)
    most, chosen = -1.0, (EVIDENCE_SHARES[0], by_evidence)
    for share in EVIDENCE_SHARES:
        vectors = unit(share * by_evidence + (1 - share) * by_text)
        of_sample = _look_at_items(vectors, texts, items[sample], text_vectors[sample], level)
        if of_sample.trusted > most:
            most, chosen = of_sample.trusted, (share, vectors)
    return chosen


def map_of_texts(text_vectors: np.ndarray, items: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """The images [L, W] of `texts` [L, S] under the affine map that takes the items' `text_vectors` [N, S] to `items`
    [N, W] with the least squared error and penalty RIDGE."""
    center, middle = text_vectors.mean(axis=0), items.mean(axis=0)
    spread = (text_vectors - center).astype(np.float64)
    penalty = RIDGE * len(spread) * np.eye(spread.shape[1])
    weight = np.linalg.solve(spread.T @ spread + penalty, spread.T @ (items - middle))
    return (texts - center) @ weight + middle


@dataclass(frozen=True)
class _Items:
    """All items with all labels. `label` [N] is the nearest label that agrees with the item, and `cosine` [N] its
    cosine; `threshold` and mean `agreement` are those of nearest labels, whether they agree or not, `trusted` is the
    share of items whose nearest label reaches the threshold and agrees; `examples` [L, E] are
    the nearest items that agree with a label, by item_idx, `example_cosine` [L, E] their cosines, -1 without one."""

    label: np.ndarray
    cosine: np.ndarray
    threshold: float
    agreement: float
    trusted: float
    examples: np.ndarray
    example_cosine: np.ndarray


def _look_at_items(
    vectors: np.ndarray, texts: np.ndarray, item_vectors: np.ndarray, text_vectors: np.ndarray, level: float
) -> _Items:
    count, num_items = len(vectors), len(item_vectors)
    if not count:
        none = np.full(num_items, NO_LABEL)
        return _Items(none, np.full(num_items, -1.0), NEVER, 0.5, 0.0, none[:0, None], np.zeros((0, 1)))
    labels, cosines, nearest, agreements = [], [], [], []
    examples = np.zeros((count, _EXAMPLES), np.int64)
    example_cosine = np.full((count, _EXAMPLES), -1.0)
    for start in range(0, num_items, _BLOCK):
        rows = slice(start, start + _BLOCK)
        cosine, text_cosine = unit(item_vectors[rows]) @ vectors.T, text_vectors[rows] @ texts.T  # [n, L]
        fitting = np.where(agreeing(text_cosine, FITTING), cosine, -1.0)
        labels.append(fitting.argmax(axis=1))
        cosines.append(fitting.max(axis=1))
        nearest.append(cosine.max(axis=1))
        agreements.append(agreement(text_cosine, cosine.argmax(axis=1)))
        number = np.broadcast_to(np.arange(start, start + len(cosine)) + 1, (count, len(cosine)))
        item_idx = np.concatenate([examples, number], axis=1)
        both = np.concatenate([example_cosine, fitting.T], axis=1)
        best = np.argsort(-both, axis=1, kind="stable")[:, :_EXAMPLES]
        examples, example_cosine = np.take_along_axis(item_idx, best, 1), np.take_along_axis(both, best, 1)
    label, cosine, near, agreed = map(np.concatenate, (labels, cosines, nearest, agreements))
    limit = max(0.0, threshold(near, agreed, level))  # a vector that points away is not near
    trusted = float(((near >= limit) & (agreed >= FITTING)).mean())
    return _Items(label, cosine, limit, float(agreed.mean()), trusted, examples, example_cosine)


def threshold_of_interests(
    interests: np.ndarray,
    vectors: np.ndarray,
    texts: np.ndarray,
    item_vectors: np.ndarray,
    text_vectors: np.ndarray,
    level: float,
) -> float:
    """The cosine from which the nearest label of an interest agrees with the items that it brings. `interests`
    [Q, K, D] are those of users; `vectors` [L, W] are compared with the first W coordinates."""
    if not len(vectors):
        return NEVER
    flat = interests.reshape(-1, interests.shape[-1])
    flat = flat[np.linspace(0, len(flat) - 1, min(len(flat), _INTERESTS)).astype(np.int64)] if len(flat) else flat
    count = min(_BROUGHT, len(item_vectors))
    cosines, agreements = [], []
    for start in range(0, len(flat), _BLOCK // 4):
        part = flat[start : start + _BLOCK // 4]
        cosine = unit(part[:, : vectors.shape[1]]) @ vectors.T  # [n, L]
        label = cosine.argmax(axis=1)
        brought = np.argpartition(-(part @ item_vectors.T), count - 1, axis=1)[:, :count]  # [n, count]
        text_cosine = text_vectors[brought.ravel()] @ texts.T  # [n count, L]
        agreed = agreement(text_cosine, np.repeat(label, count)).reshape(-1, count)
        cosines.append(cosine.max(axis=1))
        agreements.append(agreed.mean(axis=1))
    return threshold(np.concatenate(cosines), np.concatenate(agreements), level) if cosines else NEVER


def _shown(examples: np.ndarray, trusted: np.ndarray) -> list[int]:
    """The item_idx of the examples that can be trusted."""
    return [int(item) for item in examples[trusted]]
