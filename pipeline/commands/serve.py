"""The command `serve`: a bundle over HTTP."""

import os
import sys
from typing import TYPE_CHECKING

from pipeline.console import info
from pipeline.http.options import Options

if TYPE_CHECKING:
    from pipeline.bundles import Place


def run_serve(options: Options, place: "Place | None" = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Raises UserError for a broken bundle or a taken port.

    `place` is where the bundle in `options.folder` comes from: if it is in a bucket, it is fetched from there, now and
    when it has changed.

    A request is computed by one thread, unless `OMP_NUM_THREADS` says otherwise.
    """
    # numpy and FAISS read it when they are loaded: below, and in the processes that are started.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from pipeline.bundles import fetch
    from pipeline.http.follow import follow
    from pipeline.http.logs import Log
    from pipeline.http.run import listen, serve
    from pipeline.http.supervise import serve_by_processes

    listener = listen(options.host, options.port)
    if place and place.objects:
        fetch(place)
        follow(place, Log())
    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def announce() -> None:
        info(f"{place or options.folder}: served at {address}; Ctrl+C stops it")
        sys.stdout.flush()

    if options.processes > 1:
        return serve_by_processes(options, listener, announce)
    serve(options, listener, on_ready=announce)
    sys.stderr.flush()
    os._exit(0)  # without waiting for a computation that took too long
