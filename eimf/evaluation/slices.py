"""Slices of an evaluation: groups of relevant items by what they are and whose case they belong to.

A slice is called GROUP:LABEL, as in `history:short`; the labels of a group exclude each other. `all` is everything.

    popularity   cold: an item without a training event; head: one of the most frequent fifth; tail: any other
    history      long: the history of the case is longer than the median; short
    target       repeated: the relevant item is in the history of its case; new
    read         yes: the LLM read the history of this user; no
    typical      near: the user is as similar to the typical user of the cluster as the median is, or more; far

The last two need what stage one knows of the users.

Shapes: R relevant items of all cases, U users, C cases.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from eimf.data.eval_cases import EvalCases
from eimf.data.histories import Histories
from eimf.errors import SettingError

ALL, EVERY = "all", "every"
"""The slice that has everything; what stands for it and every slice that has some but not all relevant items."""
HEAD_SHARE = 0.2
"""Items that count as head: the most frequent ones in training that make up this share of the catalogue."""
LABELS = {
    "popularity": ("head", "tail", "cold"),
    "history": ("short", "long"),
    "target": ("new", "repeated"),
    "read": ("yes", "no"),
    "typical": ("near", "far"),
}
"""The labels of each group."""
OF_STAGE_ONE = ("read", "typical")
"""Groups that need stage one."""
_NONE = -1


@dataclass(frozen=True)
class StageOneUsers:
    """What stage one knows of the users: `read` [U], whether the LLM read the history; `similarity` [U], the cosine of
    the user's vector to that of the nearest typical user of the same cluster, not a number if there is none, or None if
    the vectors are not at hand."""

    read: np.ndarray
    similarity: np.ndarray | None = None


@dataclass(frozen=True)
class Slices:
    """`label` [R] int8 by group: the place in `LABELS` of each relevant item's label, -1 if it has none."""

    label: Mapping[str, np.ndarray]
    size: int
    """R."""

    @property
    def names(self) -> list[str]:
        """All slices, also empty ones, `all` first."""
        return [ALL, *(f"{group}:{label}" for group in self.label for label in LABELS[group])]

    def chosen(self, name: str) -> np.ndarray:
        """Which relevant items are in a slice, [R] bool. Raises SettingError for a slice that there is not."""
        if name == ALL:
            return np.ones(self.size, bool)
        group, _, label = name.partition(":")
        if name not in self.names:
            raise self._unknown(name)
        return self.label[group] == LABELS[group].index(label)

    def expanded(self, wanted: Iterable[str]) -> list[str]:
        """The slices that a user means by names of slices, names of groups, and EVERY; each once. Raises SettingError
        for another name."""
        names: dict[str, None] = {}
        for text in wanted:
            if text == EVERY:
                names |= dict.fromkeys(name for name in self.names if name == ALL or self._divides(name))
            elif text in self.label:
                names |= dict.fromkeys(f"{text}:{label}" for label in LABELS[text])
            elif text in self.names:
                names[text] = None
            else:
                raise self._unknown(text)
        return list(names)

    def _divides(self, name: str) -> bool:
        return 0 < int(self.chosen(name).sum()) < self.size

    def _unknown(self, name: str) -> SettingError:
        group = name.partition(":")[0]
        if group in OF_STAGE_ONE and group not in self.label:
            return SettingError("slice", f"{name!r} needs an ESIM artifact", "give its key by --esim")
        return SettingError("slice", f"there is no {name!r}", f"use {EVERY}, or some of {', '.join(self.names)}")


def slices_of(cases: EvalCases, histories: Histories, stage_one: StageOneUsers | None = None) -> Slices:
    """The slices of the relevant items of `cases`; without `stage_one` there are no groups OF_STAGE_ONE."""
    label = {
        "popularity": _popularity(histories)[cases.item_idx - 1],
        "history": (cases.history_end > np.median(cases.history_end))[cases.case].astype(np.int8),
        "target": histories.repeated(cases).astype(np.int8),
    }
    if stage_one is not None:
        user_idx = cases.user_idx[cases.case]
        label["read"] = (~stage_one.read[user_idx]).astype(np.int8)
    if stage_one is not None and stage_one.similarity is not None:
        label["typical"] = _nearness(stage_one.similarity[cases.user_idx])[cases.case]
    return Slices(label, len(cases.item_idx))


def head_items(frequency: np.ndarray) -> np.ndarray:
    """Which items are head, [N] bool, by how often each is in training."""
    head = np.zeros(len(frequency), bool)
    head[np.argsort(-frequency, kind="stable")[: max(1, round(HEAD_SHARE * len(frequency)))]] = True
    return head


def _popularity(histories: Histories) -> np.ndarray:
    """The label of each item, [N]."""
    frequency = histories.frequency()
    head, tail, cold = range(3)
    return np.where(frequency == 0, cold, np.where(head_items(frequency), head, tail)).astype(np.int8)


def _nearness(similarity: np.ndarray) -> np.ndarray:
    """The label of each case, [C], by the median of those with a similarity."""
    known = ~np.isnan(similarity)
    label = np.full(len(similarity), _NONE, np.int8)
    if known.any():
        label[known] = similarity[known] < np.median(similarity[known])
    return label
