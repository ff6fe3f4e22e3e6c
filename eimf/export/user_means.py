"""How the people who would pick a name differ from all people, in the space of the items.

Every training user is a simulated person (`eimf.export.simulated`) in front of menus of several lengths. The mean
interest vector after the training history is then regressed on the names that were picked:

    v_u = average + mean_{l in picks of u} q_l + rest,   the q_l by ridge regression

so that names that are often picked together share the credit. The average and the q_l are vectors of the item space;
the texts that decided the picks stay behind.

Shapes: U users, L labels, D width, F width of the text space, P picks.
"""

from collections.abc import Sequence

import numpy as np

from eimf.export.simulated import pick_names

MENUS = (20, 50, 100)
"""Lengths of menus that people are simulated in front of, in addition to a menu of all labels."""
_PICKS = 2
FOLDS = 5
_RIDGE = 5.0
"""Users' worth of doubt: a name that few people pick stays near the average."""


class PickedNames:
    """The names that users pick, and the regression of their vectors on them."""

    def __init__(
        self, users: np.ndarray, vectors: np.ndarray, people: np.ndarray, names: np.ndarray, menu: Sequence[int]
    ) -> None:
        """`users` [U] are their user_idx, `vectors` [U, D] their mean interests, `people` [U, F] the mean texts of
        their histories, `names` [L, F] the texts of the labels, and `menu` label numbers in their order."""
        self.users, self.average = users, vectors.sum(axis=0) / max(1, len(vectors))
        self._rest, self._count = vectors - self.average, len(names)
        order = np.array(menu, np.int64)
        menus = [order[:length] for length in MENUS if length < len(order)] + [order, np.arange(len(names))]
        self._picks = [pick_names(people, names, offered, _PICKS) for offered in menus if len(offered)]

    def vectors(self, chosen: np.ndarray) -> np.ndarray:
        """q of each label, [L, D], from the users in the rows `chosen`."""
        gram, moment = _RIDGE * np.eye(self._count), np.zeros((self._count, self._rest.shape[1]))
        for picks in self._picks:
            rows = chosen[picks[chosen, 0] >= 0]
            _add(gram, moment, picks[rows], self._rest[rows])
        return np.linalg.solve(gram, moment)

    def fold_tables(self) -> list[np.ndarray]:
        """q of each label, [L, D], once for each fold, from the users whose user_idx modulo FOLDS is another."""
        return [self.vectors(np.flatnonzero(self.users % FOLDS != fold)) for fold in range(FOLDS)]

    def table(self) -> np.ndarray:
        """The average and, below it, q of each label from all users: [1 + L, D] float32, as a bundle holds it."""
        return np.vstack([self.average, self.vectors(np.arange(len(self._rest)))]).astype(np.float32)


def _add(gram: np.ndarray, moment: np.ndarray, picks: np.ndarray, rest: np.ndarray) -> None:
    """Add the normal equations of users with `picks` [U, P] and vectors `rest` [U, D]."""
    share = 1 / picks.shape[1]
    for one in picks.T:
        np.add.at(moment, one, share * rest)
        for other in picks.T:
            np.add.at(gram, (one, other), share**2)
