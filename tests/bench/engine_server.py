"""A server of vLLM on this machine, for the engine http of tests/bench/engines.py."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_METRIC = re.compile(r"^vllm:prefix_cache_hits_total\{.*\} (\S+)$", re.MULTILINE)
_START_SECONDS = 600
NAME = "llm"
"""What the server calls its model."""


@contextmanager
def serving(model: Path, options: Mapping[str, Any]) -> Iterator[str]:
    """The address of a server of the `model` with these options of `vllm.LLM`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    module = "vllm.entrypoints.openai.api_server"
    where = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", NAME, "--uvicorn-log-level", "error"]
    command = [sys.executable, "-m", module, "--model", str(model), *where, *_flags(options)]
    # The server has its engine in a second process, always.
    environment = {name: value for name, value in os.environ.items() if name != "VLLM_ENABLE_V1_MULTIPROCESSING"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(server, address)
        yield address
    finally:
        server.terminate()
        server.wait()


def cached_tokens(address: str) -> str:
    """How many tokens of prompts were in the prefix cache, as the server counts them."""
    return "".join(_METRIC.findall(_page(f"{address}/metrics")))


def _flags(options: Mapping[str, Any]) -> list[str]:
    """Options of `vllm.LLM` as those of its server."""
    flags: list[str] = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags += [f"--{flag}", str(value)]
    return flags


def _page(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return str(answer.read().decode())


def _wait_for(server: "subprocess.Popen[bytes]", address: str) -> None:
    for _ in range(_START_SECONDS):
        with suppress(OSError):
            _page(f"{address}/health")
            return
        if server.poll() is not None:
            break
        time.sleep(1)
    sys.exit("the server of vLLM does not start; its last lines are above")
