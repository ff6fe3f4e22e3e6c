"""The run of an adaptation: epochs, progress, and a saved state that a killed run resumes from."""

import time
from pathlib import Path
from typing import Any

from safetensors.torch import load, save

from eimf.esim.adapt.adapter import Adapter
from pipeline.console import Bar, info
from pipeline.training.resume_folder import ResumeFolder


def adapt(
    adapter: Adapter, folder: Path, epochs: int, save_interval: float, nearest: int, bar: Bar
) -> list[dict[str, Any]]:
    """Adapt to the end, from the state in `folder` if there is one. Returns the log, an entry for each epoch: its mean
    loss, and the share of held-out pairs `found` among the `nearest` items. The state is saved after every epoch and
    every `save_interval` seconds."""
    run = _Run(adapter, ResumeFolder(folder, "the adaptation"), save_interval, bar)
    while len(run.epoch_log) < epochs:
        run.epoch(nearest)
    return run.epoch_log


class _Run:
    """One adaptation in this process."""

    def __init__(self, adapter: Adapter, files: ResumeFolder, save_interval: float, bar: Bar) -> None:
        self.adapter, self.files, self.bar = adapter, files, bar
        self.epoch_log: list[dict[str, Any]] = []
        self._save_interval = save_interval
        if note := files.note():
            adapter.load(load(files.read(note["state"])))
            self.epoch_log = note["epoch_log"]
            info(f"       resuming after epoch {len(self.epoch_log)} and {adapter.steps_done} steps")
            bar.skip(len(self.epoch_log) * adapter.anchors + adapter.anchors_done)
        self._saved = time.monotonic()

    def epoch(self, nearest: int) -> None:
        loss = self.adapter.epoch(len(self.epoch_log), self._on_step)
        found, number = self.adapter.retrieved(nearest), len(self.epoch_log) + 1
        self.epoch_log.append({"epoch": number, "loss": round(loss, 5), "found": found})
        self._save()
        self.bar.note(f"epoch {number}, loss {loss:.4f}" + ("" if found is None else f", found {found:.1%}"))

    def _on_step(self, anchors: int) -> None:
        self.bar(anchors)
        if time.monotonic() - self._saved > self._save_interval:
            self._save()

    def _save(self) -> None:
        name = self.files.write("state", save(self.adapter.state()))
        self.files.save_note({"epoch_log": self.epoch_log, "state": name}, {name})
        self._saved = time.monotonic()
