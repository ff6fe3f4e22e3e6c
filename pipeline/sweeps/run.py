"""Run the trials of a plan in parallel; a finished trial never runs again."""

import contextlib
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Lock
from typing import Any

from eimf import schema
from eimf.errors import ArtifactError, SettingError, UserError
from eimf.store.artifact import Store
from pipeline.backends import watchdog
from pipeline.backends.main_module import without_main_module
from pipeline.console import info
from pipeline.stores import open_store
from pipeline.sweeps.plan import Trial
from pipeline.sweeps.results import TrialResult, add_results, current, pack_ranks, read_results

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["pipeline.stages.stage_two", "eimf.train.loop", "eimf.semantics.build", "torch._dynamo"])
"""One process imports what a training needs, the first optimizer included, and does nothing else. The trainings are its
forks, so that none of them spends seconds on imports."""
Outcome = dict[str, Any]
"""What a trial's process sends: the fields of its result that are not in the trial, or an `error`."""


def run_sweep(trials: list[Trial], store: Store, folder: Path, workers: int, on_result: Callable[[], object]) -> None:
    """Run the trials without a result in `folder`, `workers` at a time, each in its own process with one thread.

    Trials with the same key share one training. `on_result` is called after new results. A trial that fails, or whose
    process is killed, does not stop the others; the first error, in the plan's order, is raised at the end. An
    interrupt ends the running trainings; the next start resumes them.
    """
    by_key: dict[str, list[Trial]] = {}
    for trial in trials:
        by_key.setdefault(trial.key, []).append(trial)
    if share_results(folder, by_key):
        on_result()
    results = read_results(folder)[0]
    pending = [group[0] for group in by_key.values() if current(results, group[0]) is None]
    info(f"{len(trials) - sum(len(by_key[trial.key]) for trial in pending)} of {len(trials)} trials are finished")
    errors: dict[str, str] = {}
    watchdog.watch()  # if this process is killed, so are its trainings
    trainings = _Trainings(store.address, folder / "log")
    pool = ThreadPoolExecutor(workers)  # a thread waits for each process
    try:
        running = {pool.submit(trainings.run, trial): trial for trial in pending}
        for number, future in enumerate(as_completed(running), 1):
            trial, outcome = running[future], future.result()
            progress = f"[{number}/{len(pending)}] {trial.name}"
            if "error" in outcome:
                errors[trial.name] = outcome["error"]
                info(f"{progress}  failed: {outcome['error']}")
                continue
            add_results(folder, [result_of(member, outcome) for member in by_key[trial.key]])
            on_result()
            info(f"{progress}  ndcg@10 {outcome['summary']['ndcg@10']:.4f}  {outcome['summary']['seconds']:.0f} s")
    finally:
        trainings.stop()  # an interrupt may reach only this process
        pool.shutdown(cancel_futures=True)
    for trial in pending:
        if trial.name in errors:
            raise SettingError(trial.name, errors[trial.name], f"{len(errors)} trials failed, see {folder / 'log'}")


def share_results(folder: Path, by_key: dict[str, list[Trial]]) -> bool:
    """Copy the result of a finished trial to all trials with the same key. True if a result was written."""
    results, new = read_results(folder)[0], []
    for trials in by_key.values():
        finished = [current(results, trial) for trial in trials]
        if known := next((result for result in finished if result is not None), None):
            fields = known.model_dump(exclude={"dataset", "backbone", "variant", "seed", "key"})
            new += [result_of(trial, fields) for trial, result in zip(trials, finished, strict=True) if result is None]
    if new:
        add_results(folder, new)
    return bool(new)


def result_of(trial: Trial, outcome: Outcome) -> TrialResult:
    """The result of a trial with this outcome."""
    return TrialResult(
        dataset=trial.dataset, backbone=trial.backbone, variant=trial.variant, seed=trial.seed, key=trial.key, **outcome
    )


class _Trainings:
    """The processes of a sweep, one for each trial."""

    def __init__(self, address: str, log: Path) -> None:
        self._address, self._log = address, log
        self._lock, self._stopped = Lock(), False
        self._alive: set[ForkServerProcess] = set()

    def run(self, trial: Trial) -> Outcome:
        """Run a trial in a new process."""
        receiver, sender = _FORKS.Pipe(duplex=False)
        process = _FORKS.Process(target=_run_in_process, args=(trial, self._address, self._log, sender), daemon=True)
        with self._lock:
            if self._stopped:
                return {"error": "stopped"}
            with without_main_module():
                process.start()
            self._alive.add(process)
        sender.close()
        try:
            outcome: Outcome = receiver.recv()
            process.join()
        except EOFError:
            process.join()
            outcome = {"error": f"its process ended with exit code {process.exitcode}"}
        with self._lock:
            self._alive.discard(process)
        return outcome

    def stop(self) -> None:
        """End the running trainings, and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._alive:
                process.terminate()


def _run_in_process(trial: Trial, address: str, log: Path, sender: Connection) -> None:
    """Train in the trial's process and send the outcome. The training's output and the traceback of an error go to a
    log file."""
    log.mkdir(parents=True, exist_ok=True)
    with (log / f"{trial.name}.txt").open("w") as file, contextlib.redirect_stdout(file):
        try:
            sender.send(train_trial(trial, address))
        except KeyboardInterrupt:
            raise SystemExit(1) from None  # the whole sweep is interrupted, and prints that
        except Exception as error:  # noqa: BLE001  a failed trial stops no other; its error is raised at the end
            traceback.print_exc(file=file)
            sender.send({"error": str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"})


def train_trial(trial: Trial, address: str) -> Outcome:
    """Train and measure a trial in this process, in the store at `address`. Raises ArtifactError if its stage one has
    changed."""
    from pipeline.stages.stage_two import run_train

    recipe = trial.recipe.model_copy(update={"runtime": trial.recipe.runtime.model_copy(update={"threads": 1})})
    run = run_train(recipe, open_store(address))
    if run.metrics.key != trial.key:
        raise ArtifactError(trial.name, "stage one has changed since the sweep began", "start the sweep again")
    names = ("valid_ndcg@10", "best_epoch", "epochs", "seconds")
    summary = {**run.metrics.manifest.summary, **{name: run.checkpoint.summary_number(name) for name in names}}
    ranks, case = (run.metrics.table("ranks")[name].to_numpy() for name in (schema.RANK, schema.CASE))
    return {"checkpoint": run.checkpoint.key, "summary": summary, **pack_ranks(ranks, case)}
