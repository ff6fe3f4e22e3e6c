"""Metrics in the format of Prometheus, of all processes together.

Several processes write their counts into files of a folder (`PROMETHEUS_MULTIPROC_DIR`), which `prometheus_client` adds
up; `run.py` makes the folder.
"""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Variable with the folder of several processes."""
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """All that is counted, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("eimf_requests", "Answers by route and status.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "eimf_request_seconds", "Time from the head of a request to the end of its answer.", ["route"],
            buckets=_BUCKETS, registry=registry,
        )  # fmt: skip
        self.in_progress = Gauge(
            "eimf_requests_in_progress", "Requests without an answer yet.", registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self.waiting = Gauge(
            "eimf_queue_length", "Requests that wait for a thread.", registry=registry, multiprocess_mode="livesum"
        )
        self.rejected = Counter("eimf_rejected", "Requests refused, by reason.", ["reason"], registry=registry)
        self.histories = Counter("eimf_histories", "Histories answered.", registry=registry)
        self.reloads = Counter("eimf_reloads", "Bundles loaded or refused.", ["result"], registry=registry)
        self.bundle = Gauge(
            "eimf_bundle_processes", "Processes that serve a bundle.", ["bundle"], registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip

    def text(self) -> bytes:
        """The metrics of all processes."""
        folder = os.environ.get(FOLDER)
        if not folder:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, folder)
        return generate_latest(together)


def forget_process(folder: Path, pid: int) -> None:
    """A process has ended: what it had in progress counts no longer; its finished requests do."""
    mark_process_dead(pid, str(folder))
