"""What a killed training resumes from: its last state, its best weights, and its metrics of every epoch."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save

from eimf.errors import ArtifactError
from eimf.store import keys
from eimf.store.artifact import RESUME_FILE
from eimf.store.files import write_atomic
from eimf.train.loop import Progress, Trainer

LOG, _NOTE = "metrics.jsonl", "run.json"


@dataclass
class RunState:
    """How far a training has come: its progress, one entry for each epoch, seconds of work, and the file with its best
    weights."""

    progress: Progress
    epoch_log: list[dict[str, Any]]
    seconds: float
    best: str | None = None

    def summary(self, per_epoch: int) -> dict[str, Any]:
        """The figures of a finished training; each epoch had `per_epoch` targets."""
        return {
            "epochs": self.progress.epochs,
            "best_epoch": self.progress.best_epoch,
            "valid_ndcg@10": round(self.progress.best, 5),
            "seconds": round(self.seconds, 1),
            "targets_per_second": round(per_epoch * self.progress.epochs / self.seconds),
        }


class RunDirectory:
    """A running training on disk: its last state, its best weights, and a log of its metrics as JSON lines.

    `run.json` records how far it has come, and names the two files, each by the sha256 of its bytes. It is written
    last, so a kill at any time leaves either the state before or the state after, complete.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, trainer: Trainer) -> RunState:
        """Put the saved state, if there is one, into the trainer. Raises ArtifactError if it is damaged."""
        note = self._note()
        if note is None:
            return RunState(Progress(), [], 0.0)
        trainer.load(load(self._checked(note["state"])))
        best = note["best"]
        if best is not None:
            self._checked(best)
        return RunState(Progress(**note["progress"]), note["epoch_log"], note["seconds"], best)

    def _note(self) -> dict[str, Any] | None:
        path = self.folder / _NOTE
        if not path.is_file():
            return None
        try:
            wrapped = json.loads(path.read_bytes())
            if keys.digest(wrapped["note"]) == wrapped["sha256"]:
                note: dict[str, Any] = json.loads(wrapped["note"])
                return note
        except (ValueError, TypeError, KeyError, RecursionError):  # damaged, as is another digest
            pass
        raise self._damaged(path)

    def _checked(self, name: str) -> bytes:
        path = self.folder / name
        data = path.read_bytes() if path.is_file() else b""
        if _name(name.partition("-")[0], data) != name:
            raise self._damaged(path)
        return data

    def _damaged(self, path: Path) -> ArtifactError:
        return ArtifactError(str(path), "damaged", f"remove {self.folder}: the training begins again")

    def save(self, trainer: Trainer, state: RunState) -> None:
        """Write the state, and the weights if the last epoch was the best so far."""
        if not trainer.steps_done and state.progress.best_epoch == state.progress.epochs:
            weights = {name: value.cpu() for name, value in trainer.backbone.serving_state_dict().items()}
            state.best = self._write("best", save(weights))
        name = self._write("state", save(trainer.state()))
        note = json.dumps(
            {
                "progress": asdict(state.progress),
                "epoch_log": state.epoch_log,
                "seconds": state.seconds,
                "state": name,
                "best": state.best,
            }
        )
        write_atomic(self.folder / _NOTE, json.dumps({"note": note, "sha256": keys.digest(note)}).encode())
        for path in self.folder.glob("*.safetensors"):
            if RESUME_FILE.fullmatch(path.name) and path.name not in (name, state.best):
                path.unlink()

    def _write(self, what: str, data: bytes) -> str:
        name = _name(what, data)
        write_atomic(self.folder / name, data)
        return name

    def best(self, state: RunState) -> bytes:
        """The best weights so far, as a safetensors file."""
        assert state.best is not None, "an epoch has ended"
        return self._checked(state.best)

    def log(self, entry: dict[str, Any]) -> None:
        """Append a line to the log, which people may follow while the training runs."""
        with (self.folder / LOG).open("a") as file:
            file.write(json_lines([entry]))

    def begin_log(self, epoch_log: list[dict[str, Any]]) -> None:
        """Cut or complete the log to the epochs of `epoch_log`; lines that it has for them stay as they are."""
        path = self.folder / LOG
        lines = path.read_text(errors="replace").splitlines(keepends=True) if path.is_file() else []
        kept = [line for line in lines[: len(epoch_log)] if line.endswith("\n")]  # a kill may have cut the last one
        write_atomic(path, ("".join(kept) + json_lines(epoch_log[len(kept) :])).encode())


def _name(what: str, data: bytes) -> str:
    return f"{what}-{keys.bytes_digest(data)[:16]}.safetensors"


def json_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
