"""Many trainings by one plan, side by side: what is finished is never done again."""

import contextlib
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import Lock
from typing import Any

from eimf import schema
from eimf.errors import ArtifactError, SettingError, UserError
from eimf.store.artifact import Store
from pipeline.backends import watchdog
from pipeline.console import info
from pipeline.sweeps.plan import Trial
from pipeline.sweeps.results import pack, read_result, share_result, write_result


def run_sweep(tasks: list[Trial], store: Store, results: Path, workers: int, kept: Callable[[], object]) -> None:
    """Run what has no result file yet, `workers` trainings at a time, each in a process of its own with one thread;
    `kept` is called after new result files. Runs that come to the same training share one. A run that fails, or whose
    process is killed, stops nothing; the first error, in the plan's order, is raised in the end. An interrupt ends the
    trainings under way; a later start resumes them."""
    results.mkdir(parents=True, exist_ok=True)
    by_key: dict[str, list[Trial]] = {}
    for task in tasks:
        by_key.setdefault(task.key, []).append(task)
    shared = [share_result(results, same) for same in by_key.values()]
    if any(shared):
        kept()
    open_tasks = [same[0] for same in by_key.values() if read_result(results, same[0]) is None]
    info(f"{len(tasks) - sum(len(by_key[task.key]) for task in open_tasks)} of {len(tasks)} runs are finished")
    failed: dict[str, str] = {}
    watchdog.watch()  # killed, it leaves no trainings behind
    trainings = _Trainings(store.root, results / "log")
    pool = ThreadPoolExecutor(workers)  # a thread waits for each process
    try:
        running = {pool.submit(trainings.run, task): task for task in open_tasks}
        for number, future in enumerate(as_completed(running), 1):
            task, found = running[future], future.result()
            if "error" in found:
                failed[task.name] = found["error"]
                info(f"[{number}/{len(open_tasks)}] {task.name}  failed: {found['error']}")
                continue
            write_result(results, task, found)
            share_result(results, by_key[task.key])
            kept()
            info(f"[{number}/{len(open_tasks)}] {task.name}  ndcg@10 {found['ndcg@10']:.4f}  {found['seconds']:.0f} s")
    finally:
        trainings.stop()  # an interrupt reaches this process, and not always theirs
        pool.shutdown(cancel_futures=True)
    for task in open_tasks:
        if task.name in failed:
            raise SettingError(task.name, failed[task.name], f"{len(failed)} runs failed, see {results / 'log'}")


class _Trainings:
    """The processes of a sweep: each run has one of its own."""

    def __init__(self, root: Path, log: Path) -> None:
        self._root, self._log = root, log
        self._lock, self._stopped = Lock(), False
        self._alive: set[SpawnProcess] = set()

    def run(self, task: Trial) -> dict[str, Any]:
        """The result of a run, or its `error`."""
        spawn = get_context("spawn")
        receiver, sender = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_work, args=(task, self._root, self._log, sender), daemon=True)
        with self._lock:
            if self._stopped:
                return {"error": "stopped"}
            process.start()
            self._alive.add(process)
        sender.close()
        try:
            found: dict[str, Any] = receiver.recv()
        except EOFError:
            process.join()
            found = {"error": f"its process ended with exit code {process.exitcode}"}
        process.join()
        with self._lock:
            self._alive.discard(process)
        return found

    def stop(self) -> None:
        """End those that are still at work, and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._alive:
                process.terminate()


def _work(task: Trial, root: Path, log: Path, sender: Connection) -> None:
    """In the run's process: train, and send the result, or its `error`. What a training prints, and the traceback of
    an error, go to a log file."""
    log.mkdir(parents=True, exist_ok=True)
    with (log / f"{task.name}.txt").open("w") as file, contextlib.redirect_stdout(file):
        try:
            sender.send(_result(task, root))
        except KeyboardInterrupt:
            raise SystemExit(1) from None  # of the whole sweep, which says so
        except Exception as error:  # noqa: BLE001  whatever ends a run: the others go on, and in the end it is raised
            traceback.print_exc(file=file)
            sender.send({"error": str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"})


def _result(task: Trial, root: Path) -> dict[str, Any]:
    from pipeline.stages.stage_two import run_train

    recipe = task.recipe.model_copy(update={"runtime": task.recipe.runtime.model_copy(update={"threads": 1})})
    result = run_train(recipe, Store(root))
    if result.metrics.key != task.key:
        raise ArtifactError(task.name, "stage one was run anew meanwhile", "start the sweep again")
    ranks = result.metrics.table("ranks")[schema.RANK].to_numpy()
    return {
        "key": task.key,
        "checkpoint": result.checkpoint.key,
        **result.metrics.manifest.summary,
        **{name: result.checkpoint.fact(name) for name in ("valid_ndcg@10", "best_epoch", "epochs", "seconds")},
        "ranks": pack(ranks),
    }
