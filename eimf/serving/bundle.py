"""Read a bundle: a folder with everything that serving needs.

A bundle may come from anybody. Before any memory is taken for a file, its type, size and sha256 are those that the
manifest tells, and its size is one that such a bundle can have; the header of an array names the shape and type that
the manifest leads to. Arrays are mapped, not read. The folder is opened once: if it is replaced in the meantime, all
files are still those of one bundle.

Shapes: N items, D width, L labels.
"""

import hashlib
import json
import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError

from eimf.errors import ArtifactError, describe_validation_error
from eimf.npy import LARGEST_HEADER, parse_header
from eimf.serving import manifest as names
from eimf.serving.cold_start import ColdStart
from eimf.serving.labels import NO_LABEL, Labels
from eimf.serving.manifest import SCHEMA_VERSION, FileEntry, LabelFile, Manifest
from eimf.serving.request import shown

_EXPORT_AGAIN = "copy the bundle again, or export it again"
_LARGEST_MANIFEST = 1 << 20
LONGEST_LINE = 1 << 16
"""Bytes of a line of `items.jsonl`, with its end."""
_BLOCK = 1 << 20
_LARGEST_NUMBER = 1e12
"""Of either sign: the product of two vectors of such numbers is a float32."""


@dataclass(frozen=True)
class Bundle:
    """The checked content of a bundle."""

    manifest: Manifest
    tower: bytes
    """`user_tower.onnx`."""
    item_vectors: np.ndarray
    """[N + 1, D] float32, mapped; row 0 is zero."""
    item_ids: list[str]
    """The id of `item_idx` j is `item_ids[j - 1]`."""
    titles: list[str | None]
    cold_start: ColdStart
    index: np.ndarray | None
    """Bytes of `index.faiss`, mapped; None for an exact index."""
    labels: Labels | None
    examples: list[tuple[int, ...]]
    """For each label the item_idx of a few items that show it."""


def read_bundle(folder: Path | str) -> Bundle:
    """The bundle in `folder`. Raises ArtifactError, on one line, for anything that is not a whole bundle."""
    path = Path(folder)
    with _opened_folder(path) as reader:
        manifest = reader.manifest()
        reader.check_names(manifest)
        for name, entry in sorted(manifest.files.items()):
            reader.check_file(name, entry, manifest)
        arrays = {name: reader.array(name, *form) for name, form in manifest.arrays().items()}
        item_ids, titles = reader.items(manifest.model.num_items)
        table = arrays[names.ITEM_VECTORS]
        if table[0].any():
            raise reader.refusal(names.ITEM_VECTORS, "its row 0, which is padding, is not zero")
        labels, examples = reader.labels(manifest, arrays) if manifest.labels else (None, [])
        return Bundle(
            manifest=manifest,
            tower=reader.content(names.TOWER),
            item_vectors=table,
            item_ids=item_ids,
            titles=titles,
            cold_start=ColdStart(
                manifest.cold_start, arrays[names.ITEM_SCORES], arrays[names.USER_MEANS], arrays[names.ITEM_VECTORS]
            ),
            index=None if names.INDEX not in manifest.files else reader.mapped(names.INDEX),
            labels=labels,
            examples=examples,
        )


def read_manifest(folder: Path | str) -> Manifest:
    """The manifest of the bundle in `folder`; its files are not looked at. Raises ArtifactError."""
    with _opened_folder(Path(folder)) as reader:
        return reader.manifest()


@contextmanager
def _opened_folder(folder: Path) -> Iterator["_Reader"]:
    """The folder opened once, with all files that are opened in it, until the end of the block."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or "not a path"
        raise ArtifactError(
            f"bundle {folder}", f"cannot be opened ({reason})", "give the folder of a bundle"
        ) from error
    reader = _Reader(folder, handle)
    try:
        yield reader
    finally:
        reader.close()


class _Reader:
    """The files of one open folder."""

    def __init__(self, folder: Path, handle: int) -> None:
        self.folder, self._handle = folder, handle
        self._files: dict[str, int] = {}

    def close(self) -> None:
        for handle in (*self._files.values(), self._handle):
            os.close(handle)

    def refusal(self, name: str, problem: str) -> ArtifactError:
        return ArtifactError(f"bundle {self.folder}: {name}", problem, _EXPORT_AGAIN)

    def manifest(self) -> Manifest:
        """`bundle.json`, if its fields are those of this version and lead to its digest."""
        if self._size(names.MANIFEST) > _LARGEST_MANIFEST:
            raise self.refusal(names.MANIFEST, "too large for a manifest")
        data = self.content(names.MANIFEST)
        try:
            version = _AnyVersion.model_validate_json(data).schema_version
            if version != SCHEMA_VERSION:
                problem = f"schema version {shown(version)}, this EIMF reads {SCHEMA_VERSION}"
                raise ArtifactError(f"bundle {self.folder}", problem, "export it again with this version")
            manifest = Manifest.model_validate_json(data)
        except ValidationError as error:
            raise self.refusal(names.MANIFEST, _described(error)) from error
        try:
            is_whole = manifest.signed().digest == manifest.digest
        except ValueError:  # NaN or infinity have no digest
            is_whole = False
        if not is_whole:
            raise self.refusal(names.MANIFEST, "damaged: its content differs from its digest")
        return manifest

    def check_names(self, manifest: Manifest) -> None:
        """Raises ArtifactError unless the manifest names exactly the files that such a bundle has."""
        expected = manifest.expected_files()
        if missing := sorted(expected - manifest.files.keys()):
            raise self.refusal(names.MANIFEST, f"names no file {missing[0]}")
        if unknown := sorted(manifest.files.keys() - expected):
            raise self.refusal(names.MANIFEST, f"names the file {unknown[0]!r}, which no such bundle has")

    def check_file(self, name: str, entry: FileEntry, manifest: Manifest) -> None:
        """Raises ArtifactError unless the file has the size and sha256 of its `entry`, and a possible size."""
        size = self._size(name)
        if size != entry.bytes:
            raise self.refusal(name, f"damaged: {size} bytes, not the {entry.bytes} of the manifest")
        if name in manifest.arrays():
            self._begin(name, *manifest.arrays()[name])
        elif size > manifest.largest(name):
            raise self.refusal(name, f"{size} bytes, more than such a file can have")
        if self._sha256(name) != entry.sha256:
            raise self.refusal(name, "damaged: its bytes differ from the sha256 in the manifest")

    def array(self, name: str, kind: str, shape: tuple[int, ...]) -> np.ndarray:
        """A mapped array, read-only. Raises ArtifactError if a number of it is not finite, or too large."""
        begin = self._begin(name, kind, shape)
        array = np.frombuffer(self.mapped(name), np.dtype(kind), offset=begin).reshape(shape)
        step = max(1, _BLOCK // max(1, array[:1].size))
        for start in range(0, len(array), step):
            part = array[start : start + step]
            if not -_LARGEST_NUMBER <= part.min() <= part.max() <= _LARGEST_NUMBER:
                raise self.refusal(name, "holds a number that is not finite, or too large")
        return array

    def mapped(self, name: str) -> np.ndarray:
        """The bytes of a file, mapped into memory. They stay after the folder is closed."""
        if not self._size(name):
            raise self.refusal(name, "is empty")
        return np.frombuffer(mmap.mmap(self._open(name), 0, access=mmap.ACCESS_READ), np.uint8)

    def content(self, name: str) -> bytes:
        return os.pread(self._open(name), self._size(name), 0)

    def items(self, count: int) -> tuple[list[str], list[str | None]]:
        """The ids and titles of `items.jsonl`. Raises ArtifactError if they are not `count` different ids."""
        ids: list[str] = []
        titles: list[str | None] = []
        with os.fdopen(os.dup(self._open(names.ITEMS)), "rb") as stream:
            stream.seek(0)
            while line := stream.readline(LONGEST_LINE):
                item_id, title = self._item(line, len(ids) + 1)
                ids.append(item_id)
                titles.append(title)
        if len(ids) != count:
            raise self.refusal(names.ITEMS, f"{len(ids)} items, not the {count} of the manifest")
        if len(set(ids)) != count:
            raise self.refusal(names.ITEMS, "an item_id occurs twice")
        return ids, titles

    def _item(self, line: bytes, number: int) -> tuple[str, str | None]:
        """Id and title of one line."""
        try:
            item = json.loads(line)
            item_id, title = item["item_id"], item["title"]
            if len(item) == 2 and isinstance(item_id, str) and isinstance(title, str | None):
                f"{item_id}{title}".encode()  # half a surrogate pair is no text
                return item_id, title
        except (ValueError, TypeError, LookupError, RecursionError):
            pass
        raise self.refusal(names.ITEMS, f"line {number} is not an item with its item_id and title")

    def labels(self, manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> tuple[Labels, list[tuple[int, ...]]]:
        """The labels and their examples. Raises ArtifactError for numbers that are none of a label or an item."""
        settings = manifest.labels
        assert settings is not None
        try:
            file = LabelFile.model_validate_json(self.content(names.LABELS))
        except ValidationError as error:
            raise self.refusal(names.LABELS, _described(error)) from error
        count, items, of_items = settings.count, manifest.model.num_items, arrays[names.ITEM_LABELS]
        texts = [label.name for label in file.labels]
        examples = [label.item_idx for label in file.labels]
        if len(texts) != count or len(set(texts)) != count:
            raise self.refusal(names.LABELS, f"not {count} different names")
        if any(item_idx > items for of_label in examples for item_idx in of_label):
            raise self.refusal(names.LABELS, f"an example is no item of 1 to {items}")
        if any(not 0 <= number < count for number in file.menu) or len(set(file.menu)) != len(file.menu):
            raise self.refusal(names.LABELS, f"the menu does not hold different numbers from 0 to {count - 1}")
        if of_items.min() < NO_LABEL or of_items.max() >= count:
            raise self.refusal(names.ITEM_LABELS, f"holds a number that is not -1 to {count - 1}")
        vectors = arrays[names.LABEL_VECTORS]
        labels = Labels(
            texts,
            vectors,
            of_items,
            threshold=settings.threshold,
            item_threshold=settings.item_threshold,
            menu=file.menu,
        )
        return labels, examples

    def _open(self, name: str) -> int:
        """The open file; opened at its first use. Raises ArtifactError for anything but a regular file."""
        if name not in self._files:
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                handle = os.open(name, flags, dir_fd=self._handle)
            except OSError as error:
                raise self.refusal(name, f"cannot be opened ({error.strerror})") from error
            self._files[name] = handle
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise self.refusal(name, "is not a regular file")
        return self._files[name]

    def _size(self, name: str) -> int:
        return os.fstat(self._open(name)).st_size

    def _sha256(self, name: str) -> str:
        state, start = hashlib.sha256(), 0
        while block := os.pread(self._open(name), _BLOCK, start):
            state.update(block)
            start += len(block)
        return state.hexdigest()

    def _begin(self, name: str, kind: str, shape: tuple[int, ...]) -> int:
        """Where the numbers of an array begin. Raises ArtifactError if its header or its size is of another array."""
        header = parse_header(os.pread(self._open(name), LARGEST_HEADER, 0))
        if header is None:
            raise self.refusal(name, "is not an array that EIMF wrote")
        if (header.kind, header.shape) != (kind, shape):
            problem = f"an array of type {header.kind:.10} and shape {list(header.shape)[:4]}"
            raise self.refusal(name, f"{problem}, not {kind} {list(shape)}")
        if self._size(name) != header.begin + np.dtype(kind).itemsize * int(np.prod(shape, dtype=object)):
            raise self.refusal(name, "its size is not that of its numbers")
        return header.begin


def _described(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part)[:100] for part in first["loc"])
    return f"{field}: {describe_validation_error(first)[0]:.150}" if field else "not JSON"


class _AnyVersion(BaseModel):
    schema_version: int | float
