"""`manifest.json`, the provenance of an artifact: written last, read first, and trusted only if its bytes lead to its
key and its digest."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eimf.errors import ArtifactError
from eimf.store import keys

FORMAT = 4
NAME = "manifest.json"
EXTENDED = "base_"
"""Stands before the kind of an artifact that is extended, among the parents of the one that extends it."""
BUILD_AGAIN = "remove the folder of this artifact, and build it again"
_LARGEST = 16 << 20
"""Bytes. A manifest has a few thousand."""

Key = Annotated[str, Field(pattern=keys.KEY_PATTERN)]
Kind = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,63}$")]
FileName = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,127}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""A plain file name, not hidden, perhaps in one folder: a model has its pooling in one."""


class OtherFormatError(ArtifactError):
    """An artifact that another version of EIMF has written: not damaged, but not readable here."""

    def __init__(self, place: str, number: int) -> None:
        hint = (
            "build it again with `make esim` or `make train`: old artifacts stay, and replies are not asked for again"
        )
        super().__init__(place, f"format {number} of the store, this version reads {FORMAT}", hint)


class FileEntry(BaseModel):
    """One data file of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sha256: Key
    """sha256 of the file's content, 64 hex digits."""
    size: Annotated[int, Field(ge=0)]
    """Bytes."""
    rows: Annotated[int, Field(ge=0)] | None = None
    """Rows of a Parquet file, numbers of an array."""


class Signed(BaseModel):
    """A JSON file of the store with a digest of itself."""

    digest: str = ""
    """sha256 over all other fields, so that no bit changes unnoticed."""

    def signed(self) -> Self:
        """A copy with its digest. Raises ValueError on NaN."""
        return self.model_copy(update={"digest": keys.digest(self.model_dump(mode="json", exclude={"digest"}))})


class Manifest(Signed):
    """The provenance of one artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: int
    """Version of the on-disk format described in `artifacts/README.md`."""
    kind: Kind
    """What the artifact is, e.g. `clusters`."""
    key: Key
    """Stage key, 64 hex digits."""
    stage_version: int
    """Version of the code that builds this kind; part of the key."""
    parents: dict[Kind, Key]
    """Kind and key of every artifact that this one was built from."""
    configuration: dict[str, Any]
    """Every setting that is part of the key."""
    files: Annotated[dict[FileName, FileEntry], Field(min_length=1)]
    """Every data file of the artifact."""
    summary: dict[str, Any]
    """Counts worth knowing later: requests, tokens, removed rows, best epoch."""
    tools: dict[str, str]
    """Versions of Python and the libraries, and the machine; not part of the key."""
    created: str
    """UTC time of the build, ISO 8601."""
    seconds: float
    """Wall time of the build."""

    def fault(self, kind: str, key: str) -> str | None:
        """Why it cannot be the manifest of `kind`/`key`, or None."""
        if (self.kind, self.key) != (kind, key):
            return f"manifest names {self.kind}/{self.key}"
        try:
            if keys.stage_key(self.kind, self.stage_version, self.parents, self.configuration) != self.key:
                return "damaged: its content does not lead to its key"
            if self.signed().digest != self.digest:
                return "damaged: its bytes differ from its digest"
        except ValueError:  # NaN or infinity have no key
            return "damaged: it holds NaN or infinity"
        return None


def read_manifest(folder: Path, kind: str, key: str) -> Manifest | None:
    """The manifest in `folder`, or None if there is no finished artifact. Raises ArtifactError if it is damaged, or of
    another artifact or format."""
    path = folder / NAME
    try:
        if not path.exists() and not path.is_symlink():
            return None
        data = _read(path)
    except OSError as error:
        raise ArtifactError(str(path), f"cannot be read ({error.strerror})", BUILD_AGAIN) from error
    if data is None:
        raise ArtifactError(str(path), "damaged: no file, or one too large for a manifest", BUILD_AGAIN)
    return parse_manifest(data, str(path), kind, key)


def parse_manifest(data: bytes, place: str, kind: str, key: str, hint: str = BUILD_AGAIN) -> Manifest:
    """The manifest in `data`, which was read at `place`. Raises ArtifactError if it is damaged, or of another artifact
    or format."""
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise _unreadable(place, data, error, hint) from error
    if manifest.format != FORMAT:
        raise OtherFormatError(place, manifest.format)
    if fault := manifest.fault(kind, key):
        raise ArtifactError(place, fault, hint)
    return manifest


def _read(path: Path) -> bytes | None:
    if not path.is_file() or path.stat().st_size > _LARGEST:
        return None
    return path.read_bytes()


class _AnyFormat(BaseModel):
    format: int


def _unreadable(place: str, data: bytes, error: ValidationError, hint: str) -> ArtifactError:
    """The error for bytes that are not a manifest: damage, or the fields of another format."""
    try:
        number = _AnyFormat.model_validate_json(data).format
    except ValidationError:
        number = FORMAT
    if number != FORMAT:
        return OtherFormatError(place, number)
    first = error.errors()[0]
    location = ".".join(str(part) for part in first["loc"])
    problem = f"damaged manifest ({f'{location}: ' if location else ''}{first['msg']})"
    return ArtifactError(place, problem, hint)
