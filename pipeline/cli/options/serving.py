"""Options of the command `serve`."""

from typing import Annotated

import typer

from pipeline.cli.options.option import finite, option

_ADDRESS, _LOAD = "Address", "Load"
BundleAddress = Annotated[
    str,
    typer.Argument(metavar="BUNDLE", help="Folder that `eimf export` wrote, or a link to it, or s3://BUCKET/PREFIX."),
]
Host = Annotated[str, option("--host", panel=_ADDRESS, metavar="NAME", help="Address to listen at; 0.0.0.0 is all.")]
Port = Annotated[
    int, option("--port", panel=_ADDRESS, metavar="N", min=0, max=65_535, help="Port; 0 is any that is free.")
]
Processes = Annotated[
    int, option("--processes", panel=_LOAD, metavar="N", min=1, max=256, help="Processes that serve the port.")
]
Threads = Annotated[
    int,
    option("--threads", panel=_LOAD, metavar="N", min=1, max=256, help="Requests that a process computes at a time."),
]
Rate = Annotated[
    float | None,
    option(
        "--rate",
        panel=_LOAD,
        metavar="N",
        min=0.001,
        callback=finite,
        help="Requests a second, of all processes; above, the answer is 429.  [default: any]",
    ),
]
Queue = Annotated[
    int,
    option(
        "--queue", panel=_LOAD, metavar="N", min=1, help="Requests of a process that wait; above, the answer is 503."
    ),
]
Deadline = Annotated[
    float,
    option(
        "--deadline",
        panel=_LOAD,
        metavar="SECONDS",
        min=0.001,
        callback=finite,
        help="Time for an answer; then it is 503.",
    ),
]
BodySize = Annotated[
    int, option("--body-size", panel=_LOAD, metavar="KB", min=1, max=16_384, help="Largest body of a request.")
]
LogIds = Annotated[bool, typer.Option("--log-ids", help="Log the ids of histories and named interests, too.")]
