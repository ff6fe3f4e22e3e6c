"""What an artifact says about itself: `manifest.json`, written last, read first."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from eimf.errors import ArtifactError

FORMAT = 1
NAME = "manifest.json"


class FileEntry(BaseModel):
    """One data file of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sha256: str
    """sha256 of the file's content, 64 hex digits."""
    size: int
    """Bytes."""
    rows: int | None = None
    """Rows, for a Parquet file."""


class Manifest(BaseModel):
    """The whole provenance of one artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: int
    """Version of the on-disk format described in `artifacts/README.md`."""
    kind: str
    """What the artifact is, e.g. `clusters`."""
    key: str
    """Stage key, 64 hex digits."""
    stage_version: int
    """Version of the code that makes this kind; part of the key."""
    parents: dict[str, str]
    """Kind to key of every artifact this one was made from."""
    configuration: dict[str, Any]
    """Every setting that is part of the key."""
    files: dict[str, FileEntry]
    """Every data file of the artifact."""
    facts: dict[str, Any]
    """Counts worth knowing later: users asked, tokens, rejected rows, best epoch."""
    tools: dict[str, str]
    """Versions of Python, the machine's device and the libraries that made it; not part of the key."""
    created: str
    """UTC time of the build, ISO 8601."""
    seconds: float
    """Wall time of the build."""


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in `folder`, or None where there is no finished artifact. Raises ArtifactError on a damaged one."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ArtifactError(str(path), f"damaged manifest ({reason})", f"remove {folder} and build it again") from error
    if manifest.format != FORMAT:
        found = f"format {manifest.format}, this program reads {FORMAT}"
        raise ArtifactError(str(path), found, f"remove {folder} and build it again, or use a matching version")
    return manifest
