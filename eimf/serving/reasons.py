"""Why an item is recommended: the interest that brought it, the name of that interest, and the item of the history that
speaks most for it. All by dot products in the space of the items.

Shapes: n recommended items of one user, T items of the history, K interests, N items, D width.
"""

from collections.abc import Sequence

import numpy as np

from eimf.serving.labels import NO_LABEL, Labels, unit
from eimf.serving.result import Reason


def reasons(
    item_idx: np.ndarray,
    interest: np.ndarray,
    *,
    history: np.ndarray,
    interests: np.ndarray,
    item_table: np.ndarray,
    item_ids: Sequence[str],
    labels: Labels | None,
) -> list[Reason]:
    """The reason of each recommended item.

    `item_idx` [n] were brought by the `interest` [n] of the user's `interests` [K, D]; `history` [T] are the item_idx
    of the history, `item_table` [N + 1, D] the vectors, and the id of `item_idx` is `item_ids[item_idx - 1]`.
    """
    names = names_of(item_idx, interest, interests, labels, item_table)
    best = because(item_idx, history, item_table)
    return [
        Reason(int(k), name, item_ids[h - 1] if h else None)
        for k, name, h in zip(interest, names, best.tolist(), strict=True)
    ]


def names_of(
    item_idx: np.ndarray, interest: np.ndarray, interests: np.ndarray, labels: Labels | None, item_table: np.ndarray
) -> list[str | None]:
    """The name for each recommended item: of the interest that brought it, if it has one that fits the item too, else
    of the item itself; None if no name fits. With one interest that brings everything, always of the item."""
    if labels is None:
        return [None] * len(item_idx)
    number = labels.of_items(item_idx)
    if len(interests) > 1:
        of_interest = np.where(interest >= 0, labels.of_interests(interests)[interest], NO_LABEL)
        number = np.where(labels.fit(of_interest, item_table[item_idx]), of_interest, number)
    return [labels.name(label) for label in number.tolist()]


def because(item_idx: np.ndarray, history: np.ndarray, item_table: np.ndarray) -> np.ndarray:
    """The item of the `history` [T] that speaks most for each recommended item: the nearest in the space of the items,
    the most recent one if several are equal. item_idx [n], 0 without a history."""
    if not len(history):
        return np.zeros(len(item_idx), np.int64)
    latest_first = history[::-1]
    cosine = unit(item_table[item_idx]) @ unit(item_table[latest_first]).T  # [n, T]
    best: np.ndarray = latest_first[cosine.argmax(axis=1)]
    return best


def names_of_picked(
    item_idx: np.ndarray, picked: np.ndarray, labels: Labels, item_table: np.ndarray
) -> list[str | None]:
    """The name for each recommended item [n] out of the labels that a person `picked`: the nearest in the space of the
    items, None if it is not near enough."""
    cosine = unit(item_table[item_idx]) @ labels.vectors[picked].T  # [n, number picked]
    number = np.where(cosine.max(axis=1) >= labels.item_threshold, picked[cosine.argmax(axis=1)], NO_LABEL)
    return [labels.name(label) for label in number.tolist()]
