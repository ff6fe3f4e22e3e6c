"""What a killed training resumes from: its last state, its best weights, and its metrics of every epoch."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from eimf.parallel.process_group import SINGLE_PROCESS, Group
from eimf.store.files import write_atomic
from eimf.train.loop import Progress, Trainer
from pipeline.training.resume_folder import ResumeFolder, json_lines
from pipeline.training.tensor_file import file_blocks, read_tensors

LOG = "metrics.jsonl"


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
    """A running training on disk: its last state, its best weights, and a log of its metrics as JSON lines."""

    def __init__(self, folder: Path, group: Group = SINGLE_PROCESS) -> None:
        """The first process of a `group` writes; the others may see the same folder or one of their own machine."""
        self.folder, self.group, self._files = folder, group, ResumeFolder(folder, "the training")

    def load(self, trainer: Trainer) -> RunState:
        """Put the saved state, if there is one, into the trainer; of different ones in a group, the furthest. Raises
        ArtifactError if it is damaged."""
        notes = self.group.values(self._files.note())
        source = max(range(len(notes)), key=lambda rank: _reached(notes[rank]))
        note = notes[source]
        if note is None:
            return RunState(Progress(), [], 0.0)
        self._load_state(trainer, note["state"], source, apart=any(other != note for other in notes))
        if (best := note["best"]) is not None:
            self._require(best, source)
        return RunState(Progress(**note["progress"]), note["epoch_log"], note["seconds"], best)

    def _load_state(self, trainer: Trainer, name: str, source: int, *, apart: bool) -> None:
        """Load a file that process `source` has; `apart`: the others may not see it."""
        is_source = self.group.rank == source
        if trainer.table is not None:
            if is_source:
                self._files.check(name)
            trainer.load(read_tensors(self.folder / name, source, trainer.is_sharded, trainer.table.rows))
            return
        data = self._files.read(name) if is_source or not apart else b""
        trainer.load(load(self.group.from_process(source, data) if apart else data))

    def _require(self, name: str, source: int) -> None:
        """Check a file that process `source` has, and give it to the first process, which writes the checkpoint."""
        if self.group.rank == source:
            path = self._files.check(name)
        if source and self.group.rank == source:
            with path.open("rb") as stream:
                self.group.send_stream(stream, 0)
        elif source and self.group.rank == 0:
            self._files.write_blocks("best", self.group.received_stream(source))

    def save(self, trainer: Trainer, state: RunState) -> None:
        """Write the state, and the weights if the last epoch was the best so far. All processes call it."""
        tensors = trainer.state()
        is_best = not trainer.steps_done and state.progress.best_epoch == state.progress.epochs
        if self.group.rank and trainer.table is None:
            return
        if is_best:
            weights = {name: value.cpu() for name, value in trainer.backbone.serving_state_dict().items()}
            state.best = self._write("best", weights, trainer)
        name = self._write("state", tensors, trainer)
        if self.group.rank:
            return
        note = {
            "progress": asdict(state.progress),
            "epoch_log": state.epoch_log,
            "seconds": state.seconds,
            "steps": trainer.steps_done,
            "state": name,
            "best": state.best,
        }
        self._files.save_note(note, {name, state.best} if state.best else {name})

    def _write(self, what: str, tensors: dict[str, Tensor], trainer: Trainer) -> str:
        """A file with these tensors; returns its name, in the first process."""
        if trainer.table is None:
            return self._files.write(what, save(tensors))
        blocks = file_blocks(tensors, trainer.is_sharded, trainer.table.rows)
        if self.group.rank == 0:
            return self._files.write_blocks(what, blocks)
        for _ in blocks:  # the others' parts are sent
            pass
        return ""

    def best(self, state: RunState) -> Path:
        """The best weights so far, a safetensors file. Raises ArtifactError if it is damaged."""
        assert state.best is not None, "an epoch has ended"
        return self._files.check(state.best)

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


def _reached(note: dict[str, Any] | None) -> tuple[int, int]:
    """Epochs, and steps of the next one, that a note says are done."""
    return (-1, 0) if note is None else (note["progress"]["epochs"], note.get("steps", 0))
