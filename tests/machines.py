"""From a GPU box through a bucket to a training node and a server, each step one command.

    python -m tests.machines           # with the fake LLM and encoder, a minute once everything is installed
    python -m tests.machines --real    # the default LLM and encoder on MovieLens-100K

Each machine is a clone of the last commit with an environment and a cache of its own, below --folder; the bucket is
moto's server in this process. Checks that no machine has the packages of another one, and that a command on the wrong
machine is refused in one line that names the extra.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.object_server import ObjectServer

ROOT = Path(__file__).resolve().parents[1]
BUCKET = "machines"
FAKES = "encoder.backend=fake llm.backend=fake train.epochs=2"
GPU_BOX, TRAINING_NODE, SERVER = "gpu-box", "training-node", "server"
SECONDS = 900
"""For the server's installation and its first answer."""
ABSENT = {
    GPU_BOX: ("onnxruntime", "onnxscript"),
    TRAINING_NODE: ("vllm", "transformers", "polars", "fastapi"),
    SERVER: ("torch", "pyarrow", "vllm", "transformers", "polars", "safetensors"),
}
"""Modules that a machine must do without."""
WRONG = [
    (TRAINING_NODE, ["esim", "--set", "cluster.count=5"], "[esim]"),
    (SERVER, ["train"], "[train]"),
    (SERVER, ["export"], "[export]"),
    (TRAINING_NODE, ["serve", "bundle"], "[serve]"),
]
"""Commands on machines that lack their packages, and what the one line has to name."""


@dataclass(frozen=True)
class Machine:
    """A clone of this repository with a `.venv`, and what its commands find in the environment."""

    name: str
    folder: Path
    endpoint: str

    @property
    def clone(self) -> Path:
        return self.folder / self.name

    def environment(self) -> dict[str, str]:
        ours = {
            "EIMF_CACHE": str(self.folder / f"{self.name}.cache"),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "writer",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | ours

    def make(self, *arguments: str) -> None:
        """Run make; its output is shown. Ends this process if it fails."""
        say(f"{self.name}$ make {' '.join(arguments)}")
        begin = time.monotonic()
        if subprocess.run(["make", *arguments], cwd=self.clone, env=self.environment(), check=False).returncode:
            sys.exit(f"{self.name}: make {arguments[0]} failed")
        say(f"{self.name}: {time.monotonic() - begin:.0f} s")

    def refusal(self, *arguments: str) -> str:
        """What a command prints that is refused."""
        command = [str(self.clone / ".venv" / "bin" / "eimf"), *arguments]
        result = subprocess.run(
            command, cwd=self.clone, env=self.environment(), capture_output=True, text=True, check=False
        )
        return result.stderr if result.returncode == 2 else f"exit code {result.returncode}: {result.stderr[-500:]}"

    def has(self, module: str) -> bool:
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        python = self.clone / ".venv" / "bin" / "python"
        return subprocess.run([str(python), "-c", code], cwd="/", check=False).returncode == 0


def say(text: str) -> None:
    print(text, flush=True)


def machine(name: str, folder: Path, endpoint: str) -> Machine:
    """The machine of this name, with the last commit of this repository."""
    made = Machine(name, folder, endpoint)
    git = ["git", "-C", str(made.clone)]
    if made.clone.is_dir():
        subprocess.run([*git, "fetch", "--quiet", str(ROOT), "HEAD"], check=True)
        subprocess.run([*git, "checkout", "--quiet", "--detach", "FETCH_HEAD"], check=True)
    else:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(made.clone)], check=True)
    return made


def recommended(server: Machine, bundle: str, history: Sequence[str]) -> list[str]:
    """What the server recommends after `history`; starts it, asks once, and stops it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["make", "serve", f"BUNDLE={bundle}", f"SERVE_ARGS=--port {port}"]
    say(f"{server.name}$ {' '.join(command)}")
    process = subprocess.Popen(command, cwd=server.clone, env=server.environment(), start_new_session=True)
    try:
        return ask(f"http://127.0.0.1:{port}/recommend", history, process)
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def ask(address: str, history: Sequence[str], process: "subprocess.Popen[bytes]") -> list[str]:
    body = json.dumps({"history": list(history), "count": 3}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    end = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return [item["item_id"] for item in json.load(answer)["items"]]
        except OSError:  # it installs, or loads the bundle
            time.sleep(1)
    sys.exit(f"server: no answer of make serve within {SECONDS} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv-machines", help="clones and environments; kept")
    parser.add_argument("--real", action="store_true", help="with the default LLM and encoder")
    given = parser.parse_args()
    bucket = ObjectServer()
    bucket.make_bucket(BUCKET)
    run = uuid.uuid4().hex[:8]
    address, bundle = f"s3://{BUCKET}/{run}/store", f"s3://{BUCKET}/{run}/shop"
    store, settings = f"STORE={address}", [] if given.real else [f"SET={FAKES}"]
    folder = given.folder.resolve()
    names = (GPU_BOX, TRAINING_NODE, SERVER)
    gpu_box, node, server = (machine(name, folder, bucket.endpoint) for name in names)
    gpu_box.make("esim", store, *settings)
    node.make("train", store, *settings)
    node.make("export", store, f"BUNDLE={bundle}", *settings)
    items = recommended(server, bundle, ["242", "302"])
    say(f"recommended: {', '.join(items)}")
    assert len(items) == 3
    machines = {member.name: member for member in (gpu_box, node, server)}
    for name, modules in ABSENT.items():
        assert not (present := [module for module in modules if machines[name].has(module)]), (name, present)
    export = ["export", "--store", address, *([] if given.real else ["--settings", FAKES])]
    for name, arguments, extra in [*WRONG, (GPU_BOX, export, "[export]")]:
        line = machines[name].refusal(*arguments)
        say(f"{name}$ eimf {' '.join(arguments)}\n{line.rstrip()}")
        assert line.startswith("eimf: ") and line.count("\n") == 1 and extra in line, line
    bucket.stop()


if __name__ == "__main__":
    main()
