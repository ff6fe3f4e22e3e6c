"""What a killed training resumes from: its last state, its best weights, and its metrics by epoch."""

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

STREAM, _NOTE = "metrics.jsonl", "run.json"


@dataclass
class RunState:
    """How far a training has come: its progress, one line an epoch, seconds of work, and the file of its best
    weights."""

    progress: Progress
    curve: list[dict[str, Any]]
    seconds: float
    best: str | None = None

    def summary(self, per_epoch: int) -> dict[str, Any]:
        """What a finished training says of itself; `per_epoch` targets were trained in each epoch."""
        return {
            "epochs": self.progress.epochs,
            "best_epoch": self.progress.best_epoch,
            "valid_ndcg@10": round(self.progress.best, 5),
            "seconds": round(self.seconds, 1),
            "targets_per_second": round(per_epoch * self.progress.epochs / self.seconds),
        }


class RunDirectory:
    """A training under way, on disk: its last state, its best weights, and its metrics as a stream of JSON lines.

    `run.json` is the note of how far it has come, and names the two files, each by the sha256 of its bytes: it is
    written last, so a kill at any time leaves the state of before or of after, whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, trainer: Trainer) -> RunState:
        """The trainer takes up the saved state, if there is one. Raises ArtifactError where it is damaged."""
        note = self._note()
        if note is None:
            return RunState(Progress(), [], 0.0)
        trainer.load(load(self._checked(note["state"])))
        best = note["best"]
        standing = RunState(Progress(**note["progress"]), note["curve"], note["seconds"], best)
        if best is not None:
            self._checked(best)
        return standing

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

    def save(self, trainer: Trainer, standing: RunState) -> None:
        """The state, and the best weights where this epoch has made them."""
        if not trainer.steps_done and standing.progress.best_epoch == standing.progress.epochs:
            weights = {name: value.cpu() for name, value in trainer.backbone.serving_state_dict().items()}
            standing.best = self._write("best", save(weights))
        progress = {"progress": asdict(standing.progress), "curve": standing.curve, "seconds": standing.seconds}
        state = self._write("state", save(trainer.state()))
        note = json.dumps({**progress, "state": state, "best": standing.best})
        write_atomic(self.folder / _NOTE, json.dumps({"note": note, "sha256": keys.digest(note)}).encode())
        for path in self.folder.glob("*.safetensors"):
            if RESUME_FILE.fullmatch(path.name) and path.name not in (state, standing.best):
                path.unlink()

    def _write(self, what: str, data: bytes) -> str:
        name = _name(what, data)
        write_atomic(self.folder / name, data)
        return name

    def best(self, standing: RunState) -> bytes:
        """The best weights so far, as a safetensors file."""
        assert standing.best is not None, "an epoch has ended"
        return self._checked(standing.best)

    def stream(self, line: dict[str, Any]) -> None:
        """Add a line to the stream: for whoever follows the training."""
        with (self.folder / STREAM).open("a") as file:
            file.write(json_lines([line]))

    def begin_stream(self, curve: list[dict[str, Any]]) -> None:
        """Make the stream one of the epochs of `curve`: its own lines of these, as far as it has them."""
        path = self.folder / STREAM
        known = path.read_text(errors="replace").splitlines(keepends=True) if path.is_file() else []
        kept = [line for line in known[: len(curve)] if line.endswith("\n")]  # a kill may have cut the last one
        write_atomic(path, ("".join(kept) + json_lines(curve[len(kept) :])).encode())


def _name(what: str, data: bytes) -> str:
    return f"{what}-{keys.bytes_digest(data)[:16]}.safetensors"


def json_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
