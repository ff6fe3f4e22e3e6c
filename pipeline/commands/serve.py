"""The command `serve`: a bundle over HTTP."""

import os
import signal
import sys

from pipeline.console import info
from pipeline.http.run import Options, listen, serve
from pipeline.http.supervise import serve_by_processes


def run_serve(options: Options) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Raises UserError for a broken bundle or a taken port."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as long as the bundle loads; a change of it is noticed anyway
    listener = listen(options.host, options.port)
    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def announce() -> None:
        info(f"{options.folder}: served at {address}; Ctrl+C stops it")
        sys.stdout.flush()

    if options.processes > 1:
        return serve_by_processes(options, listener, announce)
    serve(options, listener, on_ready=announce)
    sys.stderr.flush()
    os._exit(0)  # without waiting for a computation that took too long
