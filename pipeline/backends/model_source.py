"""Where a model comes from, and what identifies its content in a key: an asset, a local directory, or a hub id."""

import os
import re
from fnmatch import fnmatch
from pathlib import Path

from eimf.errors import MissingError, ModelError, UserError
from eimf.store import keys
from pipeline.backends.assets import SCHEME, asset_folder, cache_folder, find_asset, take_note
from pipeline.console import info
from pipeline.paths import local_path

_LARGE = 16 << 20
_COMMIT = re.compile("[0-9a-f]{40}")
_PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""Files of a model, in any of its folders: no Python, no pickled weights."""
QUIET_RAY = {"RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).*", "RAY_SCHEDULER_EVENTS": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""The environment in which Ray skips whatever a cluster reports, and reports nothing itself."""


def model_identity(spec: str, revision: str | None, folder: Path, field: str) -> str:
    """All that determines the model's content; does not fetch an asset. Raises ModelError or MissingError."""
    if spec.startswith(SCHEME):
        return find_asset(spec.removeprefix(SCHEME), field).identity
    local = _local(spec, folder)
    if local is not None:
        return f"directory sha256:{_directory_digest(_checked(local, field))}"
    if revision is not None and _COMMIT.fullmatch(revision):
        return f"hub {spec}@{revision}"  # known without the model
    return f"hub {spec}@{_hub_snapshot(spec, revision, field).name}"


def local_identity(spec: str, folder: Path) -> str | None:
    """`model_identity` if no hub is needed to compute it; else None."""
    if not spec.startswith(SCHEME) and _local(spec, folder) is None:
        return None
    try:
        return model_identity(spec, None, folder, "model")
    except UserError:
        return None


def model_folder(spec: str, revision: str | None, folder: Path, field: str) -> Path:
    """The directory with the model; fetches it if necessary. Raises ModelError or MissingError."""
    if spec.startswith(SCHEME):
        return asset_folder(spec.removeprefix(SCHEME), field)
    local = _local(spec, folder)
    return _checked(local if local is not None else _hub_snapshot(spec, revision, field), field)


def _local(spec: str, folder: Path) -> Path | None:
    """A path if `spec` is one: it exists, or it does not look like a hub id (`owner/name`)."""
    path = local_path(spec, folder)
    if path.exists() or spec.startswith((".", "/", "~")) or spec.count("/") != 1:
        return path
    return None


def _checked(path: Path, field: str) -> Path:
    hint = (
        "give the directory of a model with config.json and safetensors weights, a hub id (owner/name), or asset:NAME"
    )
    if not path.is_dir():
        raise ModelError(field, f"no directory {path}", hint)
    if not (path / "config.json").is_file():
        raise ModelError(field, f"{path} holds no config.json", hint)
    if not any(path.glob("*.safetensors")):
        raise ModelError(field, f"{path} holds no safetensors weights", hint)
    return path


def _directory_digest(path: Path) -> str:
    """Digest over name and content of every file of a model; other files that a tool may leave there do not count."""
    files = {entry.relative_to(path): entry for entry in sorted(path.rglob("*")) if entry.is_file()}
    model = {
        name.as_posix(): [file.stat().st_size, _file_digest(file)]
        for name, file in files.items()
        if not any(part.startswith(".") for part in name.parts)
        and any(fnmatch(name.as_posix(), pattern) for pattern in _PATTERNS)
    }
    return keys.digest(model)


def _file_digest(file: Path) -> str:
    """The sha256 of a file's bytes; for a large file it is noted in the cache by path, size and time of change."""
    stat = file.stat()
    if stat.st_size <= _LARGE:
        return keys.file_digest(file)
    note = cache_folder() / "digests" / keys.digest([str(file.resolve()), stat.st_size, stat.st_mtime_ns])
    if note.is_file() and keys.is_key(noted := note.read_text(errors="replace")):
        return noted
    info(f"      reading {file.name} ({stat.st_size >> 20} MiB) for its sha256, once")
    digest = keys.file_digest(file)
    take_note(note, digest.encode())
    return digest


def _hub_snapshot(spec: str, revision: str | None, field: str) -> Path:
    """The snapshot folder of a hub id, named by its commit; the local hub cache comes first."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingError(
            field, f"{spec!r} is a hub id and huggingface_hub is not installed", "install the esim extra"
        ) from error
    snapshot, reason = None, ""
    for local_only in (True, False):
        try:
            path = snapshot_download(spec, revision=revision, allow_patterns=_PATTERNS, local_files_only=local_only)
            snapshot = _checked(Path(path), field)
            # The local cache may hold part of a model: an interrupted download leaves no sign.
            complete = cache_folder() / "hub" / keys.digest([spec, snapshot.name])
            if local_only and complete.is_file():
                return snapshot
            if not local_only:
                take_note(complete, b"")
                return snapshot
        except ModelError:
            if not local_only:
                raise
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
            reason = f"{type(error).__name__}: {str(error).strip() or 'no reason given'}".splitlines()[0]
    if snapshot is not None:  # no hub in reach: use the local snapshot
        return snapshot
    raise MissingError(
        field,
        f"{spec!r} is no local directory, and the hub does not provide it ({reason})",
        "connect to the hub, with a token if the model requires one, or give a local directory",
    )


def offline_environment(on_gpu: bool) -> None:
    """Set the environment of libraries that load a model, and of their worker processes: no network, no log lines.

    Call it when every model is on disk, so that a download keeps its progress bar.
    """
    if not on_gpu:
        # Otherwise vLLM starts a process that starts another, and each imports vLLM: half a minute on a slow CPU.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    for name, value in {
        "HF_HUB_OFFLINE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        "VLLM_NO_USAGE_STATS": "1",
        # By default vLLM leaves one CPU core to the process that feeds it, which needs little: half of two cores.
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        **QUIET_RAY,  # vLLM imports Ray, which reads this once
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "TORCH_LOGS": "-torch._library.triton",
        "TQDM_DISABLE": "1",
        "PYTHONWARNINGS": "ignore",
        # A forked process would not carry the mark of the watchdog.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS": "1",
    }.items():
        os.environ.setdefault(name, value)
