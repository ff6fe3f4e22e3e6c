"""Scores for people of whom little is known: what they picked from the menu, and what is popular now."""

import numpy as np

from eimf.serving.labels import Labels, unit


class ColdStart:
    """Scores by picked labels, interests and recent popularity."""

    def __init__(self, recent: np.ndarray, item_table: np.ndarray, labels: Labels | None) -> None:
        self.recent, self._table, self._labels = recent, item_table, labels

    def scores(self, picked: np.ndarray, interests: np.ndarray | None, num_events: int) -> np.ndarray:
        """[N] float32."""
        scores = self.recent.astype(np.float32)
        if self._labels is not None and len(picked):
            scores = scores + 10 * (unit(self._table[1:]) @ self._labels.vectors[picked].T).max(axis=1)
        if interests is not None:
            scores = scores + (self._table[1:] @ interests.T).max(axis=1)
        return scores
