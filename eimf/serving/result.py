"""The answer of a recommender: items, each with its reason."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Why an item is recommended."""

    interest: int
    """Which of the user's interests brought the item, from 0; 0 for a backbone with one. -1 if no history did."""
    label: str | None = None
    """A name that the person picked, if one fits the item; else the name of that interest, if it has one that fits the
    item; else the item's own. None if no name fits."""
    because: str | None = None
    """Id of the item of the history that speaks most for it; None without a history."""


@dataclass(frozen=True)
class Recommendation:
    """One recommended item."""

    item_id: str
    score: float
    """Larger is better; comparable within one answer only."""
    reason: Reason


@dataclass(frozen=True)
class Recommendations:
    """The answer for one user."""

    items: tuple[Recommendation, ...]
    """Best first; fewer than asked for if fewer are left."""
    unknown: tuple[str, ...] = ()
    """Ids and interest names of the request that the bundle does not have, each once, in their order."""


@dataclass(frozen=True)
class MenuEntry:
    """One named interest that a person may pick."""

    name: str
    item_ids: tuple[str, ...]
    """A few items that show what it means."""
