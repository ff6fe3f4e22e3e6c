import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.backends.watchdog import marked
from tests.processes import alive, wait_for

ROOT = Path(__file__).parents[3]

# A parent that is guarded twice and starts a child, which starts one of its own, as an engine does; then it waits to be
# killed. A process that it started before is no engine of this run.
PARENT = '''
import os, subprocess, sys, time
bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)
from pipeline.backends import watchdog
watchdog.watch()
watchdog.watch()
grandchild = """
import time
try:
    from setproctitle import setproctitle  # as vLLM names its processes; it may write over the environment
    setproctitle("VLLM::Worker " + "x" * 4000)
except ImportError:
    pass
time.sleep(60)
"""
child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True, stdout=subprocess.DEVNULL)
print(bystander.pid, os.environ["EIMF_RUN"], flush=True)
time.sleep(60)
'''


def guards(parent: int) -> list[int]:
    """Processes that guard `parent`."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        pids += [int(folder.name)] if command[2:4] == [b"pipeline.backends.watchdog", str(parent).encode()] else []
    return pids


def ticks(pid: int) -> int:
    """CPU time that a process has used, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_killed_pipeline_leaves_no_engine_behind_and_nothing_else_is_killed():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    bystander, mark = parent.stdout.readline().decode().split()
    try:
        assert wait_for(lambda: len(marked(mark)) == 2)  # the child, its child; not the guard
        family = marked(mark)
        (guard,) = guards(parent.pid)  # one, however many engines
        assert wait_for(lambda: Path(f"/proc/{guard}/wchan").exists())
        assert not {int(bystander), guard, parent.pid} & set(family)
        time.sleep(1)  # it has started
        before = ticks(guard)
        time.sleep(1.2)
        assert ticks(guard) - before <= 1  # it sleeps, and costs nothing
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert wait_for(lambda: not any(map(alive, family)))
        assert wait_for(lambda: not alive(guard))
        assert alive(int(bystander))
    finally:
        parent.kill()
        os.kill(int(bystander), signal.SIGKILL)


def test_a_number_used_again_is_not_killed():
    from pipeline.backends.watchdog import _kill

    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={"EIMF_RUN": "of another"}
    ) as other:
        assert wait_for(lambda: other.pid in marked("of another"))
        _kill(other.pid, "of ours")
        time.sleep(0.1)
        assert other.poll() is None
        _kill(other.pid, "of another")
        assert other.wait(10) == -signal.SIGKILL
