"""A server of objects on this machine: moto, over HTTP, in front of which somebody may refuse what a key asks for."""

import logging
import urllib.request
from collections.abc import Callable, Iterable
from threading import Thread

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler, make_server

READER, LATE, STRANGER = "reader", "late", "stranger"
"""Access keys: may read only; has a clock that is wrong; is not known."""
_REFUSALS = {LATE: "RequestTimeTooSkewed", STRANGER: "InvalidAccessKeyId", READER: "AccessDenied"}


class QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        pass


class ObjectServer:
    """`endpoint` is moto's threaded server. `strict_endpoint` has the same buckets, refuses requests by their access
    key, and keeps the requests that it got in `requests`."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.requests: list[tuple[str, str]] = []
        self._moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._moto.start()
        self._app = DomainDispatcherApplication(create_backend_app)
        self._strict = make_server("127.0.0.1", 0, self._refuse_some, threaded=True, request_handler=QuietHandler)
        self._thread = Thread(target=self._strict.serve_forever, daemon=True)
        self._thread.start()
        self.endpoint = "http://{}:{}".format(*self._moto.get_host_and_port())
        self.strict_endpoint = f"http://127.0.0.1:{self._strict.server_port}"

    def stop(self) -> None:
        self._strict.shutdown()
        self._moto.stop()

    def make_bucket(self, name: str) -> None:
        with urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")):
            pass

    def _refuse_some(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append((method, path))
        reason = next((code for key, code in _REFUSALS.items() if f"={key}/" in environ["HTTP_AUTHORIZATION"]), "")
        if not reason or (reason == "AccessDenied" and method in ("GET", "HEAD")):
            return self._app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/xml")])
        return [f"<Error><Code>{reason}</Code><Message>no</Message></Error>".encode()]
