"""The menu: an order of names such that the first ones are different from each other and suit most people.

Facility location: a menu is worth, to each person, how much its best name for that person exceeds that name's mean
over all people. A name is best for a person if it is nearest to the texts of the person's history. This worth is
submodular, so the greedy choice is near the best there is (Nemhauser, Wolsey and Fisher 1978), and an old gain is a
bound on the new one (Minoux 1978), which saves nearly all of the work.

Shapes: L labels, U people, F width of the text space.
"""

import heapq

import numpy as np

TOO_SIMILAR = 0.6
"""Cosine of the texts of two names from which they are not both offered. Our decision."""
LONGEST = 200
"""Names that are put in order; no menu is longer."""
MAX_PEOPLE = 1 << 13
"""People who are asked; more are sampled."""


def menu_order(similarity: np.ndarray, people: np.ndarray, names: np.ndarray, longest: int = LONGEST) -> list[int]:
    """The numbers of at most `longest` labels in the order in which a menu offers them, best first.

    `similarity` [L, L] are cosines of the labels' texts; `people` [U, F] mean texts of the people's histories and
    `names` [L, F] texts of the labels, both in the space in which they are compared. A label that is too similar to
    one before it is left out. Deterministic: of equal gains the label with the smaller number is first.
    """
    people = people[:: -(-len(people) // MAX_PEOPLE)] if len(people) else people
    worth = names @ people.T  # [L, U]
    worth = np.maximum(worth - worth.mean(axis=1, keepdims=True), 0) if len(people) else worth
    best = np.zeros(worth.shape[1], worth.dtype)
    allowed = np.ones(len(names), bool)
    order: list[int] = []
    bounds = [(-float(gain), label, 0) for label, gain in enumerate(worth.sum(axis=1))]
    heapq.heapify(bounds)
    while bounds and len(order) < longest:
        _, label, known = heapq.heappop(bounds)
        if not allowed[label]:
            continue
        if known < len(order):  # its gain may have shrunk since
            gain = float(np.maximum(worth[label] - best, 0).sum())
            heapq.heappush(bounds, (-gain, label, len(order)))
            continue
        order.append(label)
        best = np.maximum(best, worth[label])
        allowed &= similarity[label] < TOO_SIMILAR
    return order
