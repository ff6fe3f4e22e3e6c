"""What the people who would pick a name have in common, in the space of the items.

Every training user is a simulated person (`eimf.export.simulated`) in front of menus of several lengths. The mean
interest vector after the training history is then regressed on the names that were picked:

    v_u = u + mean_{l in picks of u} q_l + rest,   the q_l by ridge regression

so that names that are often picked together share the credit. u and the q_l are vectors of the item space; the texts
that decided the picks stay behind.

Shapes: U users, L labels, D width, F width of the text space, P picks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eimf.export.simulated import pick_names

MENUS = (20, 50, 100)
"""Lengths of menus that people are simulated in front of, in addition to a menu of all labels."""
PICKS = 2
_RIDGE = 5.0
"""Users' worth of doubt: a name that fewer people pick stays near the average."""
FOLDS = 5


@dataclass(frozen=True)
class UserMeans:
    """`average` [D] is u, `names` [L, D] are the q_l."""

    average: np.ndarray
    names: np.ndarray

    def table(self) -> np.ndarray:
        """[1 + L, D] float32, as a bundle holds it."""
        return np.concatenate([self.average[None], self.names]).astype(np.float32)


def user_means(vectors: np.ndarray, people: np.ndarray, names: np.ndarray, menu: Sequence[int]) -> UserMeans:
    """From the interest vectors of training users [U, D], their mean texts `people` [U, F] and the labels' texts
    `names` [L, F]; `menu` are label numbers in their order."""
    order, every = np.array(menu, np.int64), np.arange(len(names))
    menus = [order[:length] for length in MENUS if length < len(order)] + [order, every]
    average = vectors.mean(axis=0)
    gram, moment = _RIDGE * np.eye(len(names)), np.zeros((len(names), vectors.shape[1]))
    if len(names):
        for offered in menus:
            picks = pick_names(people, names, offered, PICKS)
            _add(gram, moment, picks[picks[:, 0] >= 0], (vectors - average)[picks[:, 0] >= 0])
    return UserMeans(average, np.linalg.solve(gram, moment))


def _add(gram: np.ndarray, moment: np.ndarray, picks: np.ndarray, rest: np.ndarray) -> None:
    """Add the normal equations of users with `picks` [U, P] and vectors `rest` [U, D]."""
    share = 1 / picks.shape[1]
    for one in picks.T:
        np.add.at(moment, one, share * rest)
        for other in picks.T:
            np.add.at(gram, (one, other), share**2)
