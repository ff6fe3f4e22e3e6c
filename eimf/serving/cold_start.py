"""Cold start: scores of all items for a person who names interests, has hardly any history, or neither.

    score(j) = recent r_j + popularity a_j + late c_j + <average u + names mean_l q_l, e_j> + history max_k <V_k, e_j>

u is the mean interest vector of all users, q_l how the mean differs among users who would pick the label l, both in the
space of the items; r, a and c say how recent, popular and late an item is. The weights before them depend on how many
events the person has, and were fitted at export (`eimf.export.cold_start`). No text is looked at. The bias of a
calibrated item is part of the model's own score only: u and q_l have 0 there, as r, a and c say the same.

Shapes: L labels, N items, D width, K interests.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

ITEM_SCORES = 3
"""Numbers of each item: r, a, c."""
MANY = 4
"""From so many events on, all weights are the same."""

Weight = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class Part(BaseModel):
    """What all parts of a manifest share: no field is converted, none is unknown."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class ColdStartWeights(Part):
    """How much each part of the score counts."""

    recent: Weight = 0.0
    """Log share of users whose last training event is the item."""
    popularity: Weight = 0.0
    """Log share of all training events."""
    late: Weight = 0.0
    """Mean place of the item in its users' training histories, from 0, first, to 1, last."""
    average: Weight = 0.0
    """The mean interest of all users."""
    names: Weight = 0.0
    """The names that were picked; 0 if they did not help on validation data."""
    history: Weight = 0.0
    """The model's score for the events so far."""


class ColdStartPart(Part):
    """What the manifest of a bundle says about cold start."""

    unnamed: ColdStartWeights
    """Without a name and without events."""
    named: Annotated[tuple[ColdStartWeights, ...], Field(min_length=MANY + 1, max_length=MANY + 1)]
    """With names, and 0, 1, 2, 3, or MANY and more events."""


class ColdStart:
    """Scores for people of whom little is known."""

    def __init__(
        self, weights: ColdStartPart, item_scores: np.ndarray, user_means: np.ndarray, item_vectors: np.ndarray
    ) -> None:
        """`item_scores` [N, 3] are r, a, c of items 1 to N; `user_means` [1 + L, D] are u and q of each label;
        `item_vectors` [N + 1, D], row 0 is padding."""
        self.weights = weights
        self._items, self._means, self._vectors = item_scores, user_means, item_vectors[1:]

    @property
    def recent(self) -> np.ndarray:
        """Log share of users whose last training event is the item, [N] float32."""
        return self._items[:, 0]

    def scores(self, labels: Sequence[int], interests: np.ndarray | None, num_events: int) -> np.ndarray:
        """Scores of items 1 to N, [N] float32, larger is better, for a person who picked `labels` and has `interests`
        [K, D] after `num_events` events, None after none. At least one of the two must be there after an event."""
        if interests is None:
            num_events = 0
        if not len(labels) and interests is not None:
            return best_score(interests, self._vectors)
        weights = self.weights.named[min(num_events, MANY)] if len(labels) else self.weights.unnamed
        person = weights.average * self._means[0]
        if len(labels):
            person = person + weights.names * self._means[1 + np.asarray(labels)].mean(axis=0)
        total = self._vectors @ person.astype(np.float32)
        of_items = np.array([weights.recent, weights.popularity, weights.late], np.float32)
        if of_items.any():
            total += self._items @ of_items
        if interests is not None and weights.history:
            total += np.float32(weights.history) * best_score(interests, self._vectors)
        return total


def best_score(interests: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The largest product of any of `interests` [K, D] with each of `vectors` [N, D], [N]."""
    best: np.ndarray = (vectors @ interests.T).max(axis=1)
    return best
