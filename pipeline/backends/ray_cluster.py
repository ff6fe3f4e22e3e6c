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
from eimf.errors import MissingError, ModelError, SettingError, on_one_line
from pipeline.backends import watchdog
from pipeline.backends.model_source import QUIET_RAY, model_folder, model_identity, offline_environment

if TYPE_CHECKING:
    from eimf.esim.generate import Generator
    from eimf.esim.ray_engine import Pool

_FIELD = "runtime.ray_address"
_LOOK_SECONDS, _CONNECT_SECONDS, _TRIAL_SECONDS = 5.0, 5.0, 45.0
"""Between looks at the head; for a connection to it; for a trial of Ray's."""
_NICENESS = "RAY_worker_niceness"
"""Ray gives way to all other processes of a machine, by 15. A cluster of our own does not: it is what the user waits
for."""
_OBJECT_STORE = 512 << 20
"""Bytes of shared memory of a cluster of our own: requests and replies are small."""


class RayCluster:
    """A connection; one at a time in a process."""

    def __init__(self, address: str | None, gone_seconds: float = 30.0) -> None:
        """`address` is that of `runtime.ray_address`. If its head is away for `gone_seconds`, the cluster is gone:
        after 60 seconds Ray would end this process. Raises MissingError if there is no such cluster, or no Ray."""
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        os.environ.update(QUIET_RAY)
        try:
            import ray
        except ImportError as error:
            raise MissingError("ray", f"not usable here ({error})", "install the extra esim-ray") from error
        if address == "local":
            os.environ.setdefault(_NICENESS, "0")
        else:
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
            problem = f"{address}, but Ray does not start ({on_one_line(error)})"
            raise MissingError(_FIELD, problem, "look into its logs, in /tmp/ray") from error
        self._gone_seconds = gone_seconds
        self._head = str(ray.get_runtime_context().gcs_address)
        self._looked = time.monotonic()
        self._away: float | None = None

    def check(self) -> None:
        """Raises MissingError if the head of the cluster has been away for long."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        self._away = None if _answers(self._head) else self._away or now
        if self._away is not None and now - self._away > self._gone_seconds:
            hint = "start the cluster, and the same command again: finished replies are kept"
            raise MissingError(_FIELD, f"the head of the Ray cluster ({self._head}) is gone", hint)

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
    if address != "auto" and not (colon and host and "/" not in address and port.isdecimal()):
        raise SettingError(_FIELD, f"{address!r} is no address of a cluster", "write HOST:PORT of its head, or auto")
    said = _refusal(address) if address == "auto" or _answers(address) else "nothing listens there"
    if "InvalidAuthToken" in said:
        hint = "set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from the head"
        raise MissingError(_FIELD, f"{address}, but that cluster asks for a token", hint)
    if said:
        problem = f"{address}, but no connection ({said.splitlines()[-1][:150]})"
        hint = "start the cluster (`ray start --head`), and run this on one of its machines (`ray start --address=...`)"
        raise MissingError(_FIELD, problem, hint)


def _refusal(address: str) -> str:
    """What Ray writes if it cannot connect there; empty if it can. In a process of its own: if it is no Ray that
    listens there, or one that asks for a token, Ray tries for minutes and writes a line a second."""
    command = [sys.executable, "-c", "import ray, sys; ray.init(sys.argv[1], log_to_driver=False)", address]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer of a Ray cluster within {_TRIAL_SECONDS:g} seconds"
    return result.stderr.strip() or "no reason given" if result.returncode else ""


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with suppress(OSError, OverflowError), socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS):
        return True
    return False
