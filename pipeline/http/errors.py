"""Errors as answers: `{"error": {"field", "problem", "hint"}}`, a few hundred characters at most."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import HTTPException
from pydantic_core import to_json
from starlette.responses import Response

from eimf.errors import UserError, describe_validation_error, printable, shortened

_LONGEST = 300
"""Characters of each part of an error."""


class Refusal(HTTPException):
    """A request that is not answered as asked, and the HTTP status that says why."""

    def __init__(
        self, status: int, field: str, problem: str, hint: str, *, reason: str = "", retry_after: int | None = None
    ) -> None:
        headers = None if retry_after is None else {"retry-after": str(retry_after)}
        super().__init__(status, f"{field}: {problem}; {hint}", headers)
        self.field, self.problem, self.hint = field, problem, hint
        self.reason = reason or _REASONS.get(status, "other")
        """For the metrics."""


_REASONS = {
    400: "json", 404: "route", 405: "method", 408: "slow", 413: "body", 415: "type", 422: "request", 431: "head",
    499: "gone",
}  # fmt: skip
"""By status, if no other is given."""


def error_body(field: str, problem: str, hint: str) -> bytes:
    """The body of an error."""
    parts = {"field": field, "problem": problem, "hint": hint}
    return to_json({"error": {name: shortened(printable(part), _LONGEST) for name, part in parts.items()}})


def error_response(refusal: Refusal) -> Response:
    """The answer that tells a refusal."""
    body = error_body(refusal.field, refusal.problem, refusal.hint)
    return Response(body, refusal.status_code, refusal.headers, "application/json")


def of_user_error(error: UserError) -> Refusal:
    """A request that the model cannot use."""
    return Refusal(422, error.field, error.problem, error.hint)


def of_validation(errors: Sequence[Mapping[str, Any]]) -> Refusal:
    """A request whose JSON or query does not fit its schema, told by the first error."""
    error = errors[0]
    where = ".".join(str(part) for part in error["loc"] if part not in ("body", "query")) or "request"
    if error["type"] == "missing":
        return Refusal(422, where, "missing", "see /openapi.json")
    problem, hint = describe_validation_error(error)
    return Refusal(422, where, problem, _HINTS.get(error["type"]) or hint or "see /openapi.json")


_HINTS = {"list_type": 'send a list such as ["a","b"]', "model_attributes_type": "send an object, see /openapi.json"}
"""By pydantic's kind of error, where that of a setting would not help."""


def of_http(status: int, path: str, headers: Mapping[str, str] | None) -> Refusal:
    """What the router says: no such route, or another method."""
    if status == 404:
        return Refusal(404, shortened(path, 100), "no such route", "see /openapi.json")
    refusal = Refusal(status, "method", "not allowed for this route", "see /openapi.json")
    refusal.headers = dict(headers or {})
    return refusal
