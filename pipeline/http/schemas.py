"""Requests of the service, as its OpenAPI document shows them."""

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
