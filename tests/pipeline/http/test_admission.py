"""Who may run, who waits, who is turned away."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from pipeline.http.admission import Gate, TokenBucket
from pipeline.http.errors import Refusal
from pipeline.http.limits import Limits


def test_a_bucket_lets_a_burst_through_and_then_the_rate():
    bucket = TokenBucket(rate=50, burst=5)
    assert [bucket.take() for _ in range(5)] == [0] * 5
    wait = bucket.take()
    assert 0 < wait <= 1 / 50
    time.sleep(wait)
    assert bucket.take() == 0


def test_a_batch_is_paid_for_later():
    bucket = TokenBucket(rate=10, burst=5)
    assert bucket.take() == 0
    bucket.charge(14)
    assert 1.0 < bucket.take() <= 1.1  # 5 - 15 tokens: 11 are missing to have 1


def test_processes_share_a_bucket_and_a_killed_one_leaves_no_lock(tmp_path):
    path = tmp_path / "counts"
    bucket = TokenBucket(0.001, 10, path)
    code = "import os, sys; from pathlib import Path; from pipeline.http.admission import TokenBucket\n"
    code += "bucket = TokenBucket(0.001, 10, Path(sys.argv[1])); print([bucket.take() == 0 for _ in range(6)])\n"
    code += "bucket._locked().__enter__(); os.kill(os.getpid(), 9)"
    assert [bucket.take() for _ in range(6)] == [0] * 6
    printed = subprocess.run([sys.executable, "-uc", code, str(path)], capture_output=True, text=True, check=False)
    assert printed.stdout == f"{[True] * 4 + [False] * 2}\n" and printed.returncode == -9
    assert bucket.take() > 0


def gate(**limits: object) -> tuple[Gate, list[int]]:
    waiting: list[int] = []
    return Gate(Limits(**limits), waiting.append), waiting


def test_a_full_queue_refuses_and_is_free_again():
    doors = threading.Event()

    async def main() -> None:
        one, waiting = gate(queue=2)
        running = [asyncio.create_task(one.run(lambda: doors.wait(10))) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Refusal) as refused:
            await one.run(int)
        assert refused.value.status_code == 503 and refused.value.headers == {"retry-after": "1"}
        assert refused.value.reason == "queue" and max(waiting) == 2
        doors.set()
        assert await asyncio.gather(*running) == [True] * 3
        assert await one.run(lambda: 7) == 7
        await asyncio.sleep(0.01)
        assert waiting[-1] == 0
        one.close()

    asyncio.run(main())


def test_after_the_deadline_waiting_work_is_dropped_and_running_work_keeps_its_place():
    doors, begun = threading.Event(), []

    async def main() -> None:
        one, _ = gate(queue=1, seconds=0.05)
        answers = [one.run(lambda: doors.wait(10)), one.run(lambda: begun.append(1))]
        for answer in await asyncio.gather(*answers, return_exceptions=True):
            assert isinstance(answer, Refusal) and answer.status_code == 503 and answer.reason == "time"
        with pytest.raises(Refusal):  # the dropped one has freed its place, the running one has not
            await asyncio.gather(one.run(int), one.run(int))
        doors.set()
        await asyncio.sleep(0.05)
        assert await one.run(lambda: 7) == 7 and begun == []
        one.close()

    asyncio.run(main())


def test_errors_pass_through():
    async def main() -> None:
        one, _ = gate()
        with pytest.raises(ZeroDivisionError):
            await one.run(lambda: 1 // 0)
        assert await one.run(lambda: 7) == 7
        one.close()

    asyncio.run(main())
