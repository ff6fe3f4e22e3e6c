"""All hashing of the project, by the standard library, so that a key is the same on every machine."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20
KEY_PATTERN = r"^[0-9a-f]{64}$"
"""Any key and any digest: a sha256 in hex digits."""
_KEY = re.compile(r"[0-9a-f]{64}")


def is_key(text: str) -> bool:
    """True for 64 hex digits."""
    return _KEY.fullmatch(text) is not None


def canonical(value: Any) -> bytes:
    """Canonical JSON of `value`: sorted keys, no spaces, ASCII only, no NaN. Raises ValueError on NaN or infinity."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def digest(value: Any) -> str:
    """sha256 (64 hex digits) over the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value)).hexdigest()


def bytes_digest(data: bytes) -> str:
    """sha256 (64 hex digits) of `data`."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 (64 hex digits) over the content of one file, read in blocks."""
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            state.update(block)
    return state.hexdigest()


def stage_key(kind: str, version: int, parents: Mapping[str, str], configuration: Mapping[str, Any]) -> str:
    """Key of a stage's artifact: its kind, the version of the code, its parents, and the settings that change it.

    `parents` maps a parent's kind to its key. Nothing about speed, paths, time or the machine may enter.
    """
    content = {"kind": kind, "version": version, "parents": dict(parents), "configuration": dict(configuration)}
    return digest(content)


def request_key(generator: Mapping[str, Any], prompt: str, schema: Mapping[str, Any] | None = None) -> str:
    """Key of one LLM request: the generator's identity (model, revision, sampling, schema), the rendered prompt, and
    the request's own JSON schema, if it has one."""
    own = {} if schema is None else {"schema": dict(schema)}
    return digest({"generator": dict(generator), "prompt": prompt, **own})
