"""Machines of a test: each a process that runs an agent of torchrun, which starts (here: forks) one of the training.

`python tests/parallel/nodes.py JOBS` runs two machines for each of the jobs, a list in JSON, until all have ended.
Run it by its path, not with `-c` or `-m`: at each step of a meeting an agent walks its call stack, and for a frame
without a file it searches all modules. On a busy machine, agents that compute for so long keep missing each other.
"""

import json
import os
import signal
import socket
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import pipeline.training.run
from pipeline import cli

PRELOADED = (
    "pipeline.report.results",
    "pipeline.serving",
    "pipeline.stages.load",
    "pipeline.stages.metrics",
    "pipeline.stages.stage_two",
    "pipeline.stores",
    "pyarrow.dataset",
    "torch._dynamo",
)
"""What every process of a training imports: here once, before they are forked."""

Job = dict[str, Any]
"""`arguments` of the command, `stores` (one a machine), `port`, `restarts`, `log` (a prefix), and what `dies`."""


def work(arguments: list[str], dies: str, mark: str) -> None:
    """What a process of the training does; the second one dies in the second epoch, if it is the first to `mark` it."""

    class Dying(pipeline.training.run.Trainer):
        def epoch(self, number, on_progress):
            def tick(targets):
                on_progress(targets)
                if number == 1 and self.steps_done == 17:
                    if dies == "machine":
                        os.kill(os.getppid(), signal.SIGKILL)
                    os.kill(os.getpid(), signal.SIGKILL)

            return super().epoch(number, tick)

    if dies and os.environ["RANK"] == "1" and not Path(mark).exists():
        Path(mark).touch()
        pipeline.training.run.Trainer = Dying
    if code := cli.run(arguments):
        sys.exit(code)
    # The agent waits for the value that this function returns: forever, if the process ends otherwise with code 0.


def node(number: int, job: Job) -> None:
    log = os.open(f"{job['log']}{number}", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    config = LaunchConfig(
        min_nodes=2,
        max_nodes=2,
        nproc_per_node=1,
        run_id="tests",
        rdzv_backend="c10d",
        rdzv_endpoint=f"localhost:{job['port']}",
        rdzv_configs={"keep_alive_interval": 2, "keep_alive_max_attempt": 5},  # a lost machine is missed after 10 s
        max_restarts=job["restarts"],
        start_method="fork",
    )
    elastic_launch(config, work)([*job["arguments"], "--store", job["stores"][number]], job["dies"], job["log"])


def start(number: int, job: Job) -> int:
    if not (pid := os.fork()):
        try:
            node(number, job)
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def meets(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("localhost", port)) == 0


def main(jobs: list[Job]) -> None:
    for module in PRELOADED:
        import_module(module)
    nodes = {}
    for job in jobs:
        for number in range(2):
            nodes[start(number, job)] = job
            while not number and not meets(job["port"]):  # the first one keeps the meeting point
                time.sleep(0.05)
    while nodes:
        pid, status = os.wait()
        job = nodes.pop(pid)
        if os.WIFSIGNALED(status):  # a machine is lost: another one takes its place
            nodes[start(2, job)] = job


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
