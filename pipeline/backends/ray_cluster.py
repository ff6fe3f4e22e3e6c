"""A connection to a Ray cluster, without a line of Ray's on the terminal, and what a replica of the LLM needs there."""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eimf.config import RuntimeSettings
from eimf.errors import MissingError, ModelError, SettingError
from pipeline.backends import watchdog
from pipeline.backends.model_source import QUIET_RAY, model_folder, model_identity, offline_environment

if TYPE_CHECKING:
    from eimf.esim.generate import Generator
    from eimf.esim.ray_engine import Pool

_FIELD = "runtime.ray_address"
_LOOK_SECONDS, _CONNECT_SECONDS, _HEALTH_SECONDS = 5.0, 5.0, 30.0
"""Between looks at the head; for a connection to it; for Ray's own check of it."""
_OBJECT_STORE = 512 << 20
"""Bytes of shared memory of a cluster of our own: requests and replies are small."""


class RayCluster:
    """A connection; one at a time in a process."""

    def __init__(self, address: str | None, gone_seconds: float = 40.0) -> None:
        """`address` is that of `runtime.ray_address`. If its head is away for `gone_seconds`, the cluster is gone:
        after 60 seconds Ray would end this process. Raises MissingError if there is no such cluster, or no Ray."""
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        os.environ.update(QUIET_RAY)
        try:
            import ray
        except ImportError as error:
            raise MissingError("ray", f"not usable here ({error})", "install the extra esim-ray") from error
        if address not in ("auto", "local"):
            _check_address(address)
        watchdog.watch()  # a cluster of our own ends with this process
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        own: dict[str, Any] = {"object_store_memory": _OBJECT_STORE, "include_dashboard": False}
        try:
            ray.init(
                address,
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.CRITICAL,
                **(own if address == "local" else {}),
            )
        except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
            problem = f"{address}, but no connection ({' '.join(str(error).split())[:150] or type(error).__name__})"
            hint = (
                "run this on a machine of the cluster, with the same Ray and Python (`ray start --address=HOST:PORT`)"
            )
            raise MissingError(_FIELD, problem, hint) from error
        self._gone_seconds = gone_seconds
        self._head = str(ray.get_runtime_context().gcs_address)
        self._looked = self._seen = time.monotonic()

    def check(self) -> None:
        """Raises MissingError if the head of the cluster has been away for long."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        if _answers(self._head):
            now = self._seen = time.monotonic()
        self._looked = now
        if now - self._seen > self._gone_seconds:
            problem = f"the head of the Ray cluster ({self._head}) is gone"
            raise MissingError(
                _FIELD, problem, "start the cluster, and the same command again: finished replies are kept"
            )

    def disconnect(self) -> None:
        """Leave the cluster, which ends all actors of this process; end a cluster of our own."""
        import ray

        ray.shutdown()

    def pool(self, runtime: RuntimeSettings) -> "Pool":
        """The pool that the settings ask for. Raises SettingError if the cluster has no place for it."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        return pool_of(nodes, runtime)


def pool_of(nodes: list[Mapping[str, float]], runtime: RuntimeSettings) -> "Pool":
    """The pool on machines with these resources (`GPU`, `CPU`). Without a GPU, the replicas of a machine share its
    cores. Raises SettingError if there is no place for it."""
    from eimf.esim.ray_engine import Pool

    gpus = [int(node.get("GPU", 0)) for node in nodes]
    size = runtime.tensor_parallel_size
    most = sum(count // size for count in gpus) if any(gpus) else sum(int(node["CPU"]) for node in nodes)
    replicas = runtime.replicas or (most if any(gpus) else len(nodes))
    if not 0 < replicas <= most:
        have = f"{sum(gpus)} GPUs on {len(nodes)} machines" if any(gpus) else f"no GPU and {most} CPU cores"
        problem = f"{max(replicas, 1)} replicas with {size} GPUs each, but the cluster has {have}"
        raise SettingError("runtime.replicas", problem, "lower it or runtime.tensor_parallel_size, or add machines")
    cores = min(int(node["CPU"]) for node in nodes)
    return Pool(
        replicas=replicas,
        gpus=size if any(gpus) else 0,
        cpus=1 if any(gpus) else max(1, cores // -(-replicas // len(nodes))),
        concurrent_requests=runtime.concurrent_requests,
        deadline_seconds=runtime.reply_deadline_seconds,
    )


@dataclass(frozen=True)
class ReplicaOfVllm:
    """Loads the LLM on a machine of the cluster. `identity` is that of the model (`model_identity`), `options` are
    those of `VllmGenerator`."""

    model: str
    revision: str | None
    folder: Path
    identity: str
    options: Mapping[str, Any]

    def __call__(self) -> "Generator":
        """Raises ModelError if this machine has another model under that name, and MissingError if it has none."""
        source = self.model, self.revision, self.folder, "llm.model"
        folder = model_folder(*source)  # fetches it if necessary
        if model_identity(*source) != self.identity:
            problem = f"{self.model} is another model on {socket.gethostname()}"
            raise ModelError("llm.model", problem, "copy the same files to all machines, or set llm.revision")
        offline_environment(self.options["on_gpu"])
        watchdog.watch()
        from eimf.esim.chat import ChatRenderer
        from eimf.esim.vllm_engine import VllmGenerator

        return VllmGenerator(ChatRenderer(folder), **self.options)


def _check_address(address: str) -> None:
    """Raises SettingError if that is no address, MissingError if nothing answers there."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or "/" in address or not port.isdecimal():
        raise SettingError(_FIELD, f"{address!r} is no address of a cluster", "write HOST:PORT of its head, or auto")
    if not (_answers(address) and _is_head(address)):
        hint = "start the cluster (`ray start --head`), or correct the address"
        raise MissingError(_FIELD, f"no head of a Ray cluster answers at {address}", hint)


def _is_head(address: str) -> bool:
    """Whether Ray finds the head of a cluster there. In a process of its own: a server of another kind would keep Ray
    trying for minutes, with a line a second."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        return not subprocess.run(command, capture_output=True, timeout=_HEALTH_SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        return False


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with suppress(OSError, OverflowError), socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS):
        return True
    return False
