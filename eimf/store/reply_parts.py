"""Every file operation of the reply store: parts that are named by their content, and the list of their names.

Another home of replies needs these few operations and no others. None of them changes a part, and each can be repeated.
"""

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from eimf.errors import ArtifactError
from eimf.store import keys
from eimf.store.files import fsync, is_plain_dir, read_file, write_atomic

_LIST = "parts.txt"
_HINT = f"move the file away and delete its line in {_LIST}: its requests are sent again"


class PartFolder:
    """The parts of one generator, in a folder: `SHA256.parquet` each, and the list `parts.txt`.

    A part that is not in the list because of a kill counts like the others. A listed one that is missing is an error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """The file names of all parts, without their ending, in order. Raises ArtifactError if a listed one is missing,
        if the list is lost or damaged, or if these are replies of another format."""
        present = {path.stem for path in self.folder.glob("*.parquet")}
        has_list = os.path.lexists(self.folder / _LIST)
        if not has_list and not all(keys.is_key(name) for name in present):
            hint = "start a new store, or move that folder away: its requests are sent again"
            raise ArtifactError(str(self.folder), "replies of another format", hint)
        listed = self._listed() if present or has_list else []
        for name in listed:
            if not self.path(name).is_file():
                if name not in self._listed():  # another process has merged it meanwhile
                    return self.names()
                hint = "copy it from its original store, or delete its line: its requests are sent again"
                raise ArtifactError(str(self.folder / _LIST), f"part {name}.parquet is missing", hint)
        return sorted({*present, *listed})

    def read_all(self) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of each part, one after the other. Parts that another process merges meanwhile do not matter:
        the part that they were merged into follows. Raises ArtifactError as `names` and `read` do."""
        done: set[str] = set()
        while left := [name for name in self.names() if name not in done]:
            for name in left:
                try:
                    data = self.read(name)
                except FileNotFoundError:
                    break
                done.add(name)
                yield name, data

    def sizes(self) -> dict[str, int]:
        """Bytes of each part that has the name of one, by that name."""
        sizes: dict[str, int] = {}
        if is_plain_dir(self.folder):
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    name = entry.name.removesuffix(".parquet")
                    with suppress(FileNotFoundError):  # another process has merged it
                        if name != entry.name and keys.is_key(name) and entry.is_file(follow_symlinks=False):
                            sizes[name] = entry.stat(follow_symlinks=False).st_size
        return sizes

    def read(self, name: str) -> bytes:
        """The bytes of a part, checked against its name. Raises FileNotFoundError if it is gone: another process may
        have merged it since `names`; and ArtifactError if it is damaged."""
        try:
            data = read_file(self.path(name))
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not os.path.lexists(self.path(name)):
                raise
            raise self.damaged(name, f" ({error.strerror})") from error
        if keys.bytes_digest(data) != name:
            raise self.damaged(name, ": its bytes differ from the sha256 in its name")
        return data

    def damaged(self, name: str, problem: str) -> ArtifactError:
        """The error for a part that cannot be used."""
        return ArtifactError(str(self.path(name)), f"damaged reply part{problem}", _HINT)

    def add(self, data: bytes) -> str:
        """Write a part and then its line in the list. Returns its name."""
        name = keys.bytes_digest(data)
        self.folder.mkdir(parents=True, exist_ok=True)
        # The list exists before the first part: parts without a list have lost it.
        with self._locked_list() as stream:
            fsync(self.folder)
            write_atomic(self.path(name), data)
            _end_last_line(stream)
            stream.write(f"{name}\n".encode())
            stream.flush()
            os.fsync(stream.fileno())
        return name

    def replace(self, merged: str, names: Collection[str]) -> None:
        """Take parts whose rows are all in the part `merged`, which is in the list, from the list, and then away."""
        gone = {*names} - {merged}
        with self._locked_list():
            left = [name for name in dict.fromkeys(self._listed()) if name not in gone]
            write_atomic(self.folder / _LIST, "".join(f"{name}\n" for name in left).encode())
        for name in gone:
            self.path(name).unlink(missing_ok=True)
        fsync(self.folder)

    def path(self, name: str) -> Path:
        """Where a part is."""
        return self.folder / f"{name}.parquet"

    def _listed(self) -> list[str]:
        path = self.folder / _LIST
        try:
            *lines, _ = read_file(path).decode("ascii", "replace").split("\n")  # a kill may have cut the last one
        except OSError as error:
            hint = f"write the names of the parts, without .parquet, into {path}, one per line"
            raise ArtifactError(str(path), f"the list of the parts cannot be read ({error.strerror})", hint) from error
        for number, line in enumerate(lines, 1):
            if not keys.is_key(line):
                raise ArtifactError(str(path), f"damaged: line {number} is not the name of a part", "correct that line")
        return lines

    @contextmanager
    def _locked_list(self) -> Iterator[BinaryIO]:
        """The list, open and locked; a new one if there is none. `replace` puts another file in its place."""
        path = self.folder / _LIST
        while True:
            with path.open("a+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                if path.exists() and os.path.samestat(path.stat(), os.fstat(stream.fileno())):
                    yield stream
                    return


def _end_last_line(stream: BinaryIO) -> None:
    """Remove a last line that a kill has cut: its part counts without it."""
    if not stream.seek(0, os.SEEK_END):
        return
    stream.seek(-1, os.SEEK_END)
    if stream.read() != b"\n":
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)
