from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import StringIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pipeline.http.admission import TokenBucket
from pipeline.http.app import create_app
from pipeline.http.limits import Limits
from pipeline.http.logs import Log
from pipeline.http.metrics import Metrics
from pipeline.http.reload import Reloader
from tests.pipeline.http import bundles


class Client(TestClient):
    """Requests in this process, with the log and the bundle behind them."""

    log: StringIO
    reloader: Reloader


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, which no test changes."""
    return bundles.write(tmp_path_factory.mktemp("bundles") / "first")


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that recommends something else."""
    return bundles.write(tmp_path_factory.mktemp("bundles") / "other", seed=2)


@pytest.fixture(scope="session")
def connect() -> Iterator[Callable[..., Client]]:
    """Makes a client of a service of its own."""
    with ExitStack() as stack:

        def make(folder: Path, *, with_ids: bool = False, is_loaded: bool = True, **limits: object) -> Client:
            stream, metrics = StringIO(), Metrics()
            log, chosen = Log(stream, with_ids=with_ids), Limits(**limits)
            reloader = Reloader(folder, log, metrics)
            if is_loaded:
                reloader.load_first()
            bucket = TokenBucket(chosen.rate, chosen.rate * chosen.burst_seconds) if chosen.rate else None
            client = Client(create_app(reloader, chosen, bucket, log, metrics), raise_server_exceptions=False)
            client.log, client.reloader = stream, reloader
            return stack.enter_context(client) if is_loaded else client

        yield make


@pytest.fixture(scope="session")
def client(connect: Callable[..., Client], bundle: Path) -> Client:
    """A service with the default limits."""
    return connect(bundle)
