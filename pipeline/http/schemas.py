"""Requests and answers of the service, as its OpenAPI document shows them."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_DIGITS = re.compile(r"[0-9]{1,9}")


def _whole(value: Any) -> Any:
    """10.0 is a whole number in JSON; "10" and true are not."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digits(value: Any) -> Any:
    """The number that the text of a query writes in digits."""
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


Count = Annotated[int, Field(ge=1, strict=True), BeforeValidator(_whole)]
QueryCount = Annotated[int, Field(ge=1, strict=True), BeforeValidator(_digits)]
Ids = Annotated[list[Annotated[str, Field(strict=True)]], Field(fail_fast=True)]
Seconds = Annotated[list[Annotated[float, Field(strict=True, ge=-1e15, le=1e15)]], Field(fail_fast=True)]
Flag = Annotated[bool, Field(strict=True)]


class _Request(BaseModel):
    """A request without unknown fields; its errors are few, however many are wrong."""

    model_config = ConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        json_schema_extra={"additionalProperties": False},
    )

    @model_validator(mode="before")
    @classmethod
    def _without_unknown_fields(cls, values: Any) -> Any:
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields:
                raise ValueError(f"unknown field {name[:100]!r}; use {', '.join(cls.model_fields)}")
        return values


class RecommendRequest(_Request):
    """For whom to recommend, and what. Without a history and interests: what people have begun to like lately."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "examples": [{"history": ["50", "181"], "count": 5}, {"interests": ["film noir"], "history": []}],
        }
    )

    history: Ids = Field(default_factory=list)
    """Item ids, oldest first. Unknown ids are skipped, and reported in the answer."""
    times: Seconds | None = None
    """Seconds of each event of the history, for a backbone that uses them."""
    interests: Ids = Field(default_factory=list)
    """Names of interests that the person picked from the menu."""
    count: Count = 10
    """Number of items to recommend."""
    exclude_seen: Flag | None = None
    """Whether items of the history are left out; null: as in the evaluation of the model."""
    allow: Ids | None = None
    """If given, only these items are recommended."""
    deny: Ids | None = None
    """Items that are not recommended."""
    diversity: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0
    """From 0, the best scores, to 1, items of as many interests as possible."""


class BatchRequest(_Request):
    """Several requests, answered together by one bundle."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "examples": [{"requests": [{"history": ["50", "181"]}, {"history": ["7"], "count": 3}]}],
        }
    )

    requests: Annotated[list[RecommendRequest], Field(min_length=1, fail_fast=True)]
    """In the order of the answers."""


class MenuQuery(_Request):
    """How many interests to offer."""

    count: QueryCount = 20
    """Number of named interests."""


class ItemsQuery(_Request):
    """Which items to find."""

    query: str = ""
    """Part of a title, or an item id. Empty: items that people have begun to like lately."""
    item_id: Ids = Field(default_factory=list)
    """If given, exactly these items, and no others; unknown ids are left out."""
    count: QueryCount = 20
    """Number of items that a query finds."""


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
