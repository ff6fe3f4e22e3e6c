"""The routes, and what they share."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.routing import APIRoute
from pydantic_core import from_json, to_json
from starlette.responses import Response

from pipeline.http import answer_schemas, answers, schemas
from pipeline.http.admission import Gate
from pipeline.http.errors import Refusal
from pipeline.http.files import File, file
from pipeline.http.guard import Guard, Outcome
from pipeline.http.limits import Limits, check_ids, check_request, check_size, write_bounds
from pipeline.http.logs import Log
from pipeline.http.metrics import CONTENT_TYPE, Metrics
from pipeline.http.reload import Reloader, Served

_ERRORS = {
    400: "The body is not JSON.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    431: "The line and the headers are too large.",
    422: "A field is unknown, of another type, or beyond a limit.",
    429: "Above the rated load; try again after `Retry-After` seconds.",
    503: "Too busy, or no bundle is loaded; try again after `Retry-After` seconds.",
}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for the OpenAPI document."""
    return {status: {"model": answer_schemas.ErrorAnswer, "description": _ERRORS[status]} for status in statuses}


_OF_GET, _OF_POST = _errors(422, 429, 431, 503), _errors(400, 408, 413, 415, 422, 429, 431, 503)


class _JsonRequest(Request):
    """A request whose body is JSON in UTF-8, without NaN, and not deep."""

    async def json(self) -> Any:
        """The value of the body. Raises Refusal (400)."""
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise Refusal(400, "body", f"not JSON: {error}", "send JSON in UTF-8") from None


class _JsonRoute(APIRoute):
    """A route that reads such a request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, which raises Refusal (415) for another type of content."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if request.method == "POST" and media_type != "application/json":
                raise Refusal(415, "content-type", media_type or "none", "send application/json")
            return await handle(_JsonRequest(request.scope, request.receive))

        return handler


@dataclass(frozen=True)
class Service:
    """What the routes share."""

    reloader: Reloader
    limits: Limits
    gate: Gate
    guard: Guard
    log: Log
    metrics: Metrics

    def served(self) -> Served:
        """The bundle that is served. Raises Refusal (503) if there is none."""
        if self.reloader.current is None:
            raise Refusal(503, "bundle", "none is loaded", "try again later", reason="bundle", retry_after=1)
        return self.reloader.current

    async def answer(self, request: Request, notes: Mapping[str, Any], work: Callable[[Served], Any]) -> Response:
        """What `work` makes of the bundle, as JSON. `notes` are for the log."""
        served = self.served()
        outcome: Outcome = request.scope["state"]["outcome"]
        outcome.notes.update(bundle=served.name, **notes)
        body = await self.gate.run(lambda: to_json(work(served)))
        return _json(body)


def add_routes(app: FastAPI, service: Service) -> None:
    """Add all routes but those of the page."""
    _add_recommend(app, service)
    _add_look_ups(app, service)
    _add_health(app, service)


def _add_recommend(app: FastAPI, service: Service) -> None:
    app.router.route_class = _JsonRoute

    @app.post("/recommend", response_model=answer_schemas.RecommendAnswer, responses=_OF_POST)
    async def recommend(request: Request, asked: schemas.RecommendRequest) -> Response:
        """Items for a history, for interests picked from the menu, or for both."""
        check_request(asked, service.limits)
        notes = _counts(service, [asked])
        answer = await service.answer(request, notes, lambda served: answers.answer_one(served, asked))
        service.metrics.histories.inc()
        return answer

    @app.post("/recommend/batch", response_model=answer_schemas.BatchAnswer, responses=_OF_POST)
    async def recommend_batch(request: Request, batch: schemas.BatchRequest) -> Response:
        """Several requests at once, each with options of its own."""
        check_size("requests", len(batch.requests), service.limits.batch)
        for number, asked in enumerate(batch.requests):
            check_request(asked, service.limits, f"requests.{number}.")
        service.guard.charge(len(batch.requests) - 1)
        notes = _counts(service, batch.requests)
        answer = await service.answer(request, notes, lambda served: answers.answer_batch(served, batch.requests))
        service.metrics.histories.inc(len(batch.requests))
        return answer


def _add_look_ups(app: FastAPI, service: Service) -> None:
    @app.get("/menu", response_model=answer_schemas.MenuAnswer, responses=_OF_GET)
    async def menu(request: Request, query: Annotated[schemas.MenuQuery, Query()]) -> Response:
        """Named interests for a person without a history to pick from."""
        check_size("count", query.count, service.limits.count)
        return await service.answer(request, {}, lambda served: answers.answer_menu(served, query.count))

    @app.get("/items", response_model=answer_schemas.ItemsAnswer, responses=_OF_GET)
    async def items(request: Request, query: Annotated[schemas.ItemsQuery, Query()]) -> Response:
        """Items by a part of their title, or by their ids."""
        check_size("count", query.count, service.limits.count)
        check_size("query", len(query.query), service.limits.query_length, "characters")
        check_size("item_id", len(query.item_id), service.limits.count)
        check_ids("item_id", query.item_id, service.limits)
        return await service.answer(request, {}, lambda served: answers.answer_items(served, query))

    @app.get("/bundle", response_model=answer_schemas.BundleAnswer, responses=_OF_GET)
    async def bundle(request: Request) -> Response:
        """The bundle that is served."""
        return await service.answer(request, {}, answers.answer_bundle)


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/health", response_model=answer_schemas.HealthAnswer)
    async def health() -> Response:
        """Whether the process is alive."""
        current = service.reloader.current
        return _json(to_json({"status": "ok", "bundle": current and current.name}))

    not_ready: dict[int | str, dict[str, Any]] = {
        503: {"model": answer_schemas.HealthAnswer, "description": "No bundle is loaded, or the server is stopping."}
    }

    @app.get("/ready", response_model=answer_schemas.HealthAnswer, responses=not_ready)
    async def ready() -> Response:
        """Whether the process answers requests."""
        current = service.reloader.current
        state = "stopping" if service.guard.is_stopping else "ready" if current else "loading"
        return _json(to_json({"status": state, "bundle": current and current.name}), 200 if state == "ready" else 503)

    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

    @app.get("/metrics", response_class=Response, responses=text)
    async def metrics() -> Response:
        """Metrics of all processes, for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)


def add_page(app: FastAPI, files: Mapping[str, File], limits: Limits) -> None:
    """Add the page, and the OpenAPI document with the limits."""
    document = app.openapi()
    write_bounds(document, limits)
    for path, content in {**files, "/openapi.json": file("openapi.json", to_json(document))}.items():
        app.add_api_route(path, content.endpoint, methods=["GET", "HEAD"], include_in_schema=False)


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, {"cache-control": "no-store"}, "application/json")


def _counts(service: Service, asked: list[schemas.RecommendRequest]) -> dict[str, Any]:
    """What the log tells of requests: counts, and ids only if it is asked to."""
    counts: dict[str, Any] = {
        "requests": len(asked),
        "events": sum(len(one.history) for one in asked),
        "interests": sum(len(one.interests) for one in asked),
    }
    if service.log.with_ids:
        counts["ids"] = [{"history": one.history, "interests": one.interests} for one in asked]
    return counts
