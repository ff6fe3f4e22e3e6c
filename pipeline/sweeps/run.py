"""Run the trials of a plan in parallel; a finished trial never runs again."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eimf import schema
from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Store
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.stores import open_store
from pipeline.sweeps.plan import Trial
from pipeline.sweeps.processes import Outcome, Processes, as_they_end
from pipeline.sweeps.results import TrialResult, add_results, current, pack_ranks, read_results


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
    trainings = Processes(folder / "log")
    pool = ThreadPoolExecutor(workers)  # a thread waits for each process
    try:
        running = {
            pool.submit(trainings.run, trial.name, train_trial, trial, store.address): trial for trial in pending
        }
        for number, future in enumerate(as_they_end(running), 1):
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


def train_trial(trial: Trial, address: str) -> Outcome:
    """Train and measure a trial in this process, in the store at `address`. Raises ArtifactError if its stage one has
    changed."""
    from pipeline.stages.stage_two import run_train

    run = run_train(with_one_thread(trial.recipe), open_store(address))
    if run.metrics.key != trial.key:
        raise ArtifactError(trial.name, "stage one has changed since the sweep began", "start the sweep again")
    names = ("valid_ndcg@10", "best_epoch", "epochs", "seconds")
    summary = {**run.metrics.manifest.summary, **{name: run.checkpoint.summary_number(name) for name in names}}
    ranks, case = (run.metrics.table("ranks")[name].to_numpy() for name in (schema.RANK, schema.CASE))
    return {"checkpoint": run.checkpoint.key, "summary": summary, **pack_ranks(ranks, case)}


def with_one_thread(recipe: Recipe) -> Recipe:
    """The same recipe on one CPU thread, as all trainings beside others."""
    return recipe.model_copy(update={"runtime": recipe.runtime.model_copy(update={"threads": 1})})
