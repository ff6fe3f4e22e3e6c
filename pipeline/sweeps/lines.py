"""Files of results: one line of JSON for each, sorted, with a digest of itself.

A file is replaced atomically with every new result, so a kill leaves it as it was before or after.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from pydantic import ValidationError

from eimf.store import keys
from eimf.store.files import file_lock, write_atomic

_DIGEST, _DIGITS = "sha256", 16


class Line(Protocol):
    """A model of pydantic with a name, unlike all others of its file, and a place in it."""

    @property
    def name(self) -> str: ...

    @property
    def order(self) -> tuple[Any, ...]: ...

    @classmethod
    def model_validate(cls, obj: Any) -> Self: ...

    def model_dump(self, *, exclude_defaults: bool) -> dict[str, Any]: ...


LineT = TypeVar("LineT", bound=Line)


class Lines(Generic[LineT]):
    """The file `file` of any folder, with lines of one model."""

    def __init__(self, file: str, model: type[LineT]) -> None:
        self._file, self._model = file, model

    def read(self, folder: Path) -> tuple[dict[str, LineT], list[str]]:
        """The lines by their names, and the problems of the others."""
        path = folder / self._file
        if not path.is_file():
            return {}, []
        results: dict[str, LineT] = {}
        problems: list[str] = []
        conflicting = set()
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            result = self._parse(line)
            if result is None:
                problems.append(f"{path}, line {number}: damaged, or left by a merge; its trial runs again")
            elif results.setdefault(result.name, result) != result:
                conflicting.add(result.name)
        problems += [f"{path}: lines of {name} differ; it runs again" for name in sorted(conflicting)]
        return {name: result for name, result in results.items() if name not in conflicting}, problems

    def add(self, folder: Path, new: Iterable[LineT]) -> None:
        """Put lines into the file in place of earlier ones of their names. Several processes may do so at a time."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self._file
        with file_lock(path.with_suffix(".lock")):
            results = self.read(folder)[0] | {result.name: result for result in new}
            ordered = sorted(results.values(), key=lambda result: result.order)
            write_atomic(path, b"".join(map(_line, ordered)))

    def _parse(self, line: bytes) -> LineT | None:
        try:
            fields = json.loads(line)
            if not isinstance(fields, dict) or fields.pop(_DIGEST, None) != _digest(fields):
                return None
            return self._model.model_validate(fields)
        except (ValueError, RecursionError, ValidationError):
            return None


def _line(result: Line) -> bytes:
    fields = result.model_dump(exclude_defaults=True)
    return json.dumps({**fields, _DIGEST: _digest(fields)}, separators=(",", ":")).encode() + b"\n"


def _digest(fields: Mapping[str, object]) -> str:
    """Detects damage, so that no digit changes unnoticed."""
    return keys.digest(fields)[:_DIGITS]
