"""Which bundle is served, and its replacement while requests run.

The folder is looked at every second. A new bundle is loaded and checked beside the old one, in a thread, then takes its
place at once; requests that have begun keep the old one, whose memory is freed after the last of them. Replace the
folder, or the link to it, by a rename: a file that is overwritten in place would change under the old bundle.
"""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from eimf.errors import ArtifactError, UserError, on_one_line
from eimf.serving.bundle import read_manifest
from eimf.serving.manifest import Model
from eimf.serving.recommend import Recommender
from pipeline.http.logs import Log
from pipeline.http.metrics import Metrics
from pipeline.http.search import Search

_SECONDS = 1.0
"""Between two looks at the folder."""

Signature = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of change of each file of a folder."""


@dataclass(frozen=True)
class Served:
    """A bundle that is served. A request takes it once, so that all of its answer comes from one bundle."""

    recommender: Recommender
    model: Model
    search: Search

    @property
    def name(self) -> str:
        """The first 12 characters of the digest."""
        return self.recommender.digest[:12]


def load(folder: Path) -> Served:
    """The bundle in `folder`, checked, after one recommendation of it. Raises UserError."""
    recommender, manifest = Recommender.load(folder), read_manifest(folder)
    if manifest.digest != recommender.digest:
        raise ArtifactError(folder.name, "was replaced while it was read", "load it again")
    recommender.recommend_one([])
    order = np.argsort(-recommender.recent, kind="stable") + 1
    return Served(recommender, manifest.model, Search(recommender.catalogue, order))


def signature(folder: Path) -> Signature | None:
    """What changes if the bundle in `folder` does; None without a readable folder."""
    try:
        files = sorted((path.name, path.stat()) for path in folder.iterdir())
        return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in files)
    except OSError:
        return None


class Reloader:
    """Holds the bundle that is served."""

    def __init__(self, folder: Path, log: Log, metrics: Metrics) -> None:
        self.folder = folder
        self.current: Served | None = None
        """None as long as nothing is loaded."""
        self._log, self._metrics = log, metrics
        self._tried: Signature | None = None
        """Of the folder as it was last loaded, or refused."""
        self._before: Signature | None = None
        """Of the folder as it was at the last look."""
        self._one_at_a_time = threading.Lock()
        self._asked = asyncio.Event()

    def load_first(self) -> None:
        """Load the bundle. Raises UserError if it is not whole."""
        before = signature(self.folder)
        self._serve(load(self.folder))
        self._tried = self._before = before

    def look(self, *, at_once: bool = False) -> None:
        """Load the bundle if it has changed, and did not change any more since the last look, or `at_once`."""
        with self._one_at_a_time:
            now = signature(self.folder)
            settled, self._before = now == self._before, now
            if not at_once and (now == self._tried or not settled):
                return
            self._tried = now
            try:
                served = load(self.folder)
            except Exception as error:  # noqa: BLE001  the old one serves on, whatever is wrong with the new one
                if signature(self.folder) == now:
                    self._refuse(error)
                else:  # replaced while it was read: the next look reads it again
                    self._tried = None
            else:
                self._serve(served)

    def _refuse(self, error: Exception) -> None:
        self._metrics.reloads.labels("refused").inc()
        fields = {"problem": on_one_line(error), "serving": self.current.name if self.current else None}
        if isinstance(error, UserError | OSError | MemoryError):
            self._log.write("bundle refused", fields, "error")
        else:
            self._log.failure("bundle refused", error, fields)

    def _serve(self, served: Served) -> None:
        before, self.current = self.current, served  # one assignment: a request sees either
        if before:
            self._metrics.bundle.labels(before.name).dec()
        self._metrics.bundle.labels(served.name).inc()
        self._metrics.reloads.labels("loaded").inc()
        replaced = before.name if before else None
        items = len(served.recommender.item_ids)
        self._log.write("bundle loaded", {"bundle": served.name, "replaces": replaced, "items": items})

    def look_now(self) -> None:
        """Let `watch` look at once, for a signal."""
        self._asked.set()

    async def watch(self) -> None:
        """Look every second, until cancelled."""
        # An executor of its own: the end of the loop waits for the default one, and a large bundle takes long to load.
        loop, executor = asyncio.get_running_loop(), ThreadPoolExecutor(1, "reload")
        while True:
            try:
                async with asyncio.timeout(_SECONDS):
                    await self._asked.wait()
            except TimeoutError:
                pass
            asked = self._asked.is_set()
            self._asked.clear()
            await loop.run_in_executor(executor, partial(self.look, at_once=asked))
