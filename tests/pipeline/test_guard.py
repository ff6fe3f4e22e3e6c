import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.guard import descendants, processes

ROOT = Path(__file__).parents[2]

# A parent that starts a child, which starts one of its own, as an engine does; then it waits to be killed.
PARENT = """
import subprocess, sys, time
from pipeline import guard
guard.watch()
grandchild = "import time; time.sleep(60)"
child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
print("ready", flush=True)
time.sleep(60)
"""


def wait_for(condition, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def test_a_killed_pipeline_leaves_no_process_behind():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdout.readline() == b"ready\n"
    assert wait_for(lambda: len(descendants(parent.pid, processes())) == 3)  # the guard, the child, its child
    time.sleep(1.5)  # the guard looks twice a second
    family = descendants(parent.pid, processes())
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    def gone() -> bool:
        alive = processes()
        return not any(pid in alive and alive[pid][1] == started for pid, started in family.items())

    assert wait_for(gone)
