"""Answers of the service, as its OpenAPI document shows them."""

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    """An answer: built by hand, described here."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")


class ItemAnswer(_Answer):
    """An item."""

    item_id: str
    title: str | None
    """To be shown; null if the bundle has none."""


class ReasonAnswer(_Answer):
    """Why an item is recommended."""

    interest: int
    """Which of the person's interests brought the item, from 0; -1 if no history did."""
    label: str | None
    """Name of that interest; null if none fits."""
    because: str | None
    """Id of the item of the history that speaks most for it."""


class RecommendedItem(ItemAnswer):
    """A recommended item."""

    score: float
    """Comparable within one answer only."""
    reason: ReasonAnswer


class BatchResult(_Answer):
    """The answer for one person."""

    items: list[RecommendedItem]
    """Best first; fewer than asked for if fewer are left."""
    unknown: list[str]
    """Ids and names of the request that the bundle does not have."""


class RecommendAnswer(BatchResult):
    """The answer for one person, and the bundle that it comes from."""

    bundle: str
    """The first 12 characters of the bundle's digest."""


class BatchAnswer(_Answer):
    """The answers of a batch, all from one bundle."""

    bundle: str
    results: list[BatchResult]


class Interest(_Answer):
    """An interest of the menu."""

    name: str
    items: list[ItemAnswer]
    """A few that show what it means."""


class MenuAnswer(_Answer):
    """Interests to pick from, diverse."""

    bundle: str
    interests: list[Interest]


class ItemsAnswer(_Answer):
    """Items found."""

    bundle: str
    items: list[ItemAnswer]


class BundleAnswer(_Answer):
    """The bundle that is served."""

    bundle: str
    backbone: str
    """Name of the model."""
    interests: int
    """Interests that the model has of each person."""
    num_items: int
    uses_timestamps: bool
    """Whether requests need `times`."""
    keep_seen: bool
    """Whether items of the history are recommended again, unless a request says otherwise."""


class HealthAnswer(_Answer):
    """The state of the process."""

    status: str
    bundle: str | None
    """null: none is loaded."""


class ErrorParts(_Answer):
    """What is wrong."""

    field: str
    problem: str
    hint: str


class ErrorAnswer(_Answer):
    """A request that is not answered as asked."""

    error: ErrorParts
