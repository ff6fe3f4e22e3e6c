"""What a killed run resumes from, on disk: a note of how far it has come, and files that the note names."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eimf.errors import ArtifactError
from eimf.store import keys
from eimf.store.artifact import RESUME_FILE
from eimf.store.files import named_at_the_end, write_atomic

_NOTE = "run.json"


class ResumeFolder:
    """`run.json` and the files of a run, each named by the sha256 of its bytes.

    The note is written last, so a kill at any time leaves either the state before or the state after, complete.
    """

    def __init__(self, folder: Path, begins_again: str) -> None:
        """`begins_again` says what has to, such as "the training", if a file is damaged."""
        self.folder, self._begins_again = folder, begins_again

    def note(self) -> dict[str, Any] | None:
        """The last note, or None. Raises ArtifactError if it is damaged."""
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

    def read(self, name: str) -> bytes:
        """A file that the note names. Raises ArtifactError if it is damaged."""
        path = self.folder / name
        data = path.read_bytes() if path.is_file() else b""
        if _name(name.partition("-")[0], data) != name:
            raise self._damaged(path)
        return data

    def check(self, name: str) -> Path:
        """The path of a file that the note names. Raises ArtifactError if it is damaged."""
        path = self.folder / name
        if not path.is_file() or _named(name.partition("-")[0], keys.file_digest(path)) != name:
            raise self._damaged(path)
        return path

    def write(self, what: str, data: bytes) -> str:
        """Write a file, `what` being `state` or `best`; returns its name."""
        name = _name(what, data)
        write_atomic(self.folder / name, data)
        return name

    def write_blocks(self, what: str, blocks: Iterable[bytes]) -> str:
        """Write a file as its blocks come; returns its name."""
        state = hashlib.sha256()
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            named_at_the_end(self.folder, lambda: _named(what, state.hexdigest())) as temporary,
            temporary.open("wb") as stream,
        ):
            for block in blocks:
                state.update(block)
                stream.write(block)
        return _named(what, state.hexdigest())

    def save_note(self, note: dict[str, Any], files: set[str]) -> None:
        """Write the note, then remove all files of the run but these."""
        text = json.dumps(note)
        write_atomic(self.folder / _NOTE, json.dumps({"note": text, "sha256": keys.digest(text)}).encode())
        for path in self.folder.glob("*.safetensors"):
            if RESUME_FILE.fullmatch(path.name) and path.name not in files:
                path.unlink()

    def _damaged(self, path: Path) -> ArtifactError:
        return ArtifactError(str(path), "damaged", f"remove {self.folder}: {self._begins_again} begins again")


def _name(what: str, data: bytes) -> str:
    return _named(what, keys.bytes_digest(data))


def _named(what: str, digest: str) -> str:
    return f"{what}-{digest[:16]}.safetensors"


def json_lines(rows: list[dict[str, Any]]) -> str:
    """JSON objects, one a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)
