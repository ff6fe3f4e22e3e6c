"""The application: its parts put together, and how errors are answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from eimf.errors import UserError
from pipeline.http.admission import Gate, TokenBucket
from pipeline.http.errors import Refusal, error_response, of_http, of_user_error, of_validation
from pipeline.http.files import page_files
from pipeline.http.guard import Guard
from pipeline.http.limits import Limits
from pipeline.http.logs import Log
from pipeline.http.metrics import Metrics
from pipeline.http.reload import Reloader
from pipeline.http.routes import Service, add_page, add_routes


def create_app(reloader: Reloader, limits: Limits, bucket: TokenBucket | None, log: Log, metrics: Metrics) -> Guard:
    """The ASGI application that serves what `reloader` holds."""
    gate = Gate(limits, metrics.waiting.set)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(reloader.watch())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        gate.close()

    app = FastAPI(
        title="EIMF",
        description="Recommendations with their reasons, all of an answer from one bundle.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    guard = Guard(app, limits, bucket, log, metrics)
    add_routes(app, Service(reloader, limits, gate, guard, log, metrics))
    add_page(app, page_files(), limits)
    guard.routes = frozenset(getattr(route, "path", "") for route in app.routes)
    _answer_errors(app)
    return guard


def _answer_errors(app: FastAPI) -> None:
    """Every error is answered in one form."""

    def respond(request: Request, refusal: Refusal) -> Response:
        request.scope["state"]["outcome"].reason = refusal.reason
        return error_response(refusal)

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return respond(request, error)

    @app.exception_handler(HTTPException)
    async def not_routed(request: Request, error: HTTPException) -> Response:
        return respond(request, of_http(error.status_code, request.url.path, error.headers))

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> Response:
        return respond(request, of_validation(error.errors()))

    @app.exception_handler(UserError)
    async def not_usable(request: Request, error: UserError) -> Response:
        return respond(request, of_user_error(error))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return respond(request, Refusal(500, "server", "failed", "the log of the server says why"))
