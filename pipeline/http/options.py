"""What the command `serve` is asked for."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.http.limits import Limits


@dataclass(frozen=True)
class Options:
    """What the command line says. This module loads neither numpy nor FAISS, which read their number of threads when
    they are loaded."""

    folder: Path
    """Of the bundle."""
    host: str
    port: int
    processes: int
    limits: Limits
    log_ids: bool
    """Whether the log has the ids of requests."""
