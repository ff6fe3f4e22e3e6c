"""Why an item is recommended: the interest that brought it, the name of that interest, and the item of the history that
speaks most for it. All by cosines in the space of the items, that of the backbone without further coordinates.

Shapes: n recommended items of one user, T items of the history, K interests, N items, W base width.
"""

from collections.abc import Sequence

import numpy as np

from eimf.serving.labels import NO_LABEL, Labels
from eimf.serving.result import Reason
from eimf.vectors import unit


def reasons(
    item_idx: np.ndarray,
    interest: np.ndarray,
    *,
    history: np.ndarray,
    interests: np.ndarray | None,
    picked: Sequence[int] = (),
    item_table: np.ndarray,
    item_ids: Sequence[str],
    labels: Labels | None,
) -> list[Reason]:
    """The reason of each recommended item.

    `item_idx` [n] were brought by the `interest` [n] of the user's `interests` [K, W], both None and -1 without a
    history; `history` [T] are the item_idx of the history, and `picked` the labels that the user picked. `item_table`
    [N + 1, W] are the vectors, and the id of `item_idx` is `item_ids[item_idx - 1]`.
    """
    best = because(item_idx, history, item_table)
    names: list[str | None] = [None] * len(item_idx)
    if labels is not None:
        number = labels_of(item_idx, interest, interests, labels, item_table)
        if len(picked):
            of_picked = picked_labels_of(item_idx, np.asarray(picked), labels, item_table)
            number = np.where(of_picked >= 0, of_picked, number)
        names = [labels.name(label) for label in number.tolist()]
    return [
        Reason(k, name, item_ids[h - 1] if h else None)
        for k, name, h in zip(interest.tolist(), names, best.tolist(), strict=True)
    ]


def labels_of(
    item_idx: np.ndarray, interest: np.ndarray, interests: np.ndarray | None, labels: Labels, item_table: np.ndarray
) -> np.ndarray:
    """The label for each recommended item, [n]: of the interest that brought it, if it has one that fits the item too,
    else of the item itself; -1 if no label fits. With one interest that brings everything, always of the item."""
    number = labels.of_items(item_idx)
    if interests is None or len(interests) == 1:
        return number
    of_interest = labels.of_interests(interests)[interest]
    return np.where(labels.fit(of_interest, item_table[item_idx]), of_interest, number)


def picked_labels_of(item_idx: np.ndarray, picked: np.ndarray, labels: Labels, item_table: np.ndarray) -> np.ndarray:
    """The label for each recommended item out of those that a person `picked`, [n]: the item's own label, else the
    nearest in the space of the items, if it is near enough; -1 if none is."""
    own = labels.of_items(item_idx)
    cosine = unit(item_table[item_idx]) @ labels.vectors[picked].T  # [n, number picked]
    near = np.where(cosine.max(axis=1) >= labels.item_threshold, picked[cosine.argmax(axis=1)], NO_LABEL)
    return np.where(np.isin(own, picked), own, near)


def because(item_idx: np.ndarray, history: np.ndarray, item_table: np.ndarray) -> np.ndarray:
    """The item of the `history` [T] that speaks most for each recommended item: the nearest in the space of the items,
    the most recent one if several are equal. item_idx [n], 0 without a history."""
    if not len(history):
        return np.zeros(len(item_idx), np.int64)
    latest_first = history[::-1]
    cosine = unit(item_table[item_idx]) @ unit(item_table[latest_first]).T  # [n, T]
    best: np.ndarray = latest_first[cosine.argmax(axis=1)]
    return best
