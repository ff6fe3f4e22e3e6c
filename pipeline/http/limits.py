"""Every limit of the service, and the check of a request against them."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from pipeline.http.errors import Refusal
from pipeline.http.schemas import RecommendRequest


class Limits(BaseModel):
    """What one request may ask for, and how many requests are taken. What is beyond a limit gets a clear 4xx, or 429 or
    503 with `Retry-After`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_bytes: PositiveInt = 256 * 1024
    """Bytes of a request's body, also of one sent in chunks (413)."""
    head_bytes: int = Field(16 * 1024, ge=1024)
    """Bytes of a request's line and headers (431)."""
    history: PositiveInt = 10_000
    """Events of a history; the model sees the last ones only (422)."""
    batch: PositiveInt = 100
    """Requests of a batch (422)."""
    count: int = Field(100, ge=20)
    """Items to recommend for a request, found by a search, or named interests of the menu (422). Not below the defaults
    of requests."""
    interests: PositiveInt = 20
    """Named interests of a request (422)."""
    filter_ids: PositiveInt = 10_000
    """Ids in `allow`, and in `deny` (422)."""
    id_length: PositiveInt = 256
    """Characters of an id or a name (422)."""
    query_length: PositiveInt = 200
    """Characters of a search for items (422)."""

    threads: PositiveInt = 1
    """Requests that a process computes at a time, each with one thread."""
    queue: PositiveInt = 64
    """Requests of a process that wait for a thread (503)."""
    connections: PositiveInt = 1000
    """Open connections of a process; above, only the health routes and the metrics answer (503)."""
    buffered_bytes: PositiveInt = 16 * 1024 * 1024
    """Bytes of all bodies that a process holds at a time (503)."""
    rate: PositiveFloat | None = None
    """Requests a second of all processes together, each of a batch counted; None: any (429)."""
    burst_seconds: PositiveFloat = 1.0
    """Seconds of the rate that may come at once after a pause."""

    seconds: PositiveFloat = 5.0
    """From a complete request to its answer (503)."""
    read_seconds: PositiveFloat = 10.0
    """A client's time to send the head of a request, and to send its body (408, or a closed connection)."""
    write_seconds: PositiveFloat = 10.0
    """A client's time to take more of an answer, before the connection is closed."""
    idle_seconds: PositiveInt = 20
    """Time between two requests on a connection, before it is closed."""
    shutdown_seconds: PositiveInt = 10
    """Time for requests in progress after SIGTERM."""


def bounds(limits: Limits) -> dict[str, int]:
    """The largest length of each list, or value of each number, of a request; by its field."""
    return {
        "history": limits.history,
        "times": limits.history,
        "interests": limits.interests,
        "allow": limits.filter_ids,
        "deny": limits.filter_ids,
        "count": limits.count,
        "requests": limits.batch,
        "query": limits.query_length,
        "item_id": limits.count,
    }


def check_request(request: RecommendRequest, limits: Limits, where: str = "") -> None:
    """Raises Refusal (422) for the first field that is too large; `where` is in front of its name."""
    largest = bounds(limits)
    for field, value in _fields(request):
        size = value if isinstance(value, int) else len(value)
        check_size(f"{where}{field}", size, largest[field])
        if isinstance(value, list) and field != "times":
            check_ids(f"{where}{field}", value, limits)


def check_ids(field: str, ids: list[str], limits: Limits) -> None:
    """Raises Refusal (422) for an id that is too long."""
    check_size(field, max(map(len, ids), default=0), limits.id_length, "characters in an id")


def check_size(field: str, size: int, largest: int, unit: str = "") -> None:
    """Raises Refusal (422) if `size` is above `largest`."""
    if size > largest:
        raise Refusal(422, field, f"{size:,} {unit}".strip(), f"at most {largest:,} are allowed")


def _fields(request: RecommendRequest) -> Iterator[tuple[str, Any]]:
    for field in ("history", "times", "interests", "allow", "deny", "count"):
        value = getattr(request, field)
        if value is not None:
            yield field, value


_KEYS = {"integer": "maximum", "array": "maxItems", "string": "maxLength"}
"""How JSON Schema names the largest value or length, by type."""


def write_bounds(openapi: dict[str, Any], limits: Limits) -> None:
    """Write the limits into the schemas of an OpenAPI document."""
    largest = bounds(limits)
    for name in ("RecommendRequest", "BatchRequest"):
        for field, schema in openapi["components"]["schemas"][name]["properties"].items():
            for part in schema.get("anyOf", [schema]):
                if part.get("type") in _KEYS:
                    part[_KEYS[part["type"]]] = largest[field]
                if part.get("items", {}).get("type") == "string":
                    part["items"]["maxLength"] = limits.id_length
    for route in ("/menu", "/items"):
        for parameter in openapi["paths"][route]["get"]["parameters"]:
            schema = parameter["schema"]
            schema[_KEYS[schema["type"]]] = largest[parameter["name"]]
            if "items" in schema:
                schema["items"]["maxLength"] = limits.id_length
