"""Many trainings by one plan, side by side, each kept as a small result file: what is finished is never done again.

A plan is TOML: recipes, backbones, seeds, and variants, which are lists of settings. Every combination is a run. The
result file of a run holds its metrics and, compressed, every user's rank up to 50: enough for all metrics up to that
cut-off and for paired tests over users.
"""

import base64
import contextlib
import json
import traceback
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eimf import schema
from eimf.config.base import NAME
from eimf.errors import ArtifactError, SettingError, UserError, refusal
from eimf.store import keys
from eimf.store.artifact import Artifact, Store
from eimf.store.files import write_atomic
from eimf.types import Seed
from pipeline import guard
from pipeline.console import say
from pipeline.gate import settle
from pipeline.recipe import Recipe, built_in_recipes, load_recipe, read_toml
from pipeline.refs import settings_behind, stage_two_inputs
from pipeline.train_stages import metrics_key

DEEPEST = 50
_DIGEST = "sha256"
"""Of all else in a result file, so that no digit of it changes unnoticed."""
_COORDINATES = {"model.backbone": "backbones", "train.seed": "seeds"}
"""Settings that a plan has lists for."""


class Plan(BaseModel):
    """What to run, and what to compare it with."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recipes: list[str] = Field(min_length=1)
    """Recipe files or folders of data relative to the plan, or names of built-in recipes."""
    backbones: list[str] = Field(min_length=1)
    """Names of backbones."""
    seeds: list[Seed] = Field(min_length=1)
    """Values of train.seed."""
    variants: dict[Annotated[str, Field(pattern=NAME)], list[str]] = Field(min_length=1)
    """Settings, section.key=value, by the name of the variant."""
    against: list[str] = []
    """Variants that every other one is compared with, over the same users."""
    settings: list[str] = []
    """Settings of all runs."""


@dataclass(frozen=True)
class Task:
    """One run of a plan."""

    recipe: Recipe
    backbone: str
    variant: str
    seed: int
    key: str
    """Of the metrics that it ends in."""
    shut: bool
    """True where the gate leaves the interests out."""

    @property
    def dataset(self) -> str:
        return self.recipe.dataset.name

    @property
    def name(self) -> str:
        return f"{self.dataset}.{self.backbone}.{self.variant}.{self.seed}"


def read_plan(path: Path) -> Plan:
    """Raises SettingError."""
    if path.suffix != ".toml":
        raise SettingError(
            "plan", f"{path} does not end in .toml", "rename it: results go into a folder named without it"
        )
    try:
        return Plan.model_validate(read_toml(path, "plan"))
    except ValidationError as error:
        first = error.errors()[0]
        field = "plan." + ".".join(str(part) for part in first["loc"])
        if first["type"] in ("extra_forbidden", "missing"):
            remedy = f"a plan has {sorted(Plan.model_fields)}"
            raise SettingError(field, f"{path}: {first['msg'].lower()}", remedy) from error
        raise SettingError(field, *refusal(first, str(path))) from error


def tasks_of(plan: Plan, folder: Path, store: Store) -> list[Task]:
    """Every run, the first seed of everything first. Raises SettingError for a setting that is not allowed and for
    runs of one name, and ArtifactError where the store lacks what a run is trained against."""
    for field in ("recipes", "backbones", "seeds"):
        values = getattr(plan, field)
        if len(set(values)) < len(values):
            raise SettingError(f"plan.{field}", f"{values} names one twice", "name it once")
    _no_coordinates(plan)
    unknown = [name for name in plan.against if name not in plan.variants]
    if unknown:
        raise SettingError("plan.against", f"{unknown[0]!r} is no variant", f"use one of {sorted(plan.variants)}")
    tasks: list[Task] = []
    inputs: dict[str, dict[str, Artifact]] = {}
    for seed, name, backbone in product(plan.seeds, plan.recipes, plan.backbones):
        for variant, own in plan.variants.items():
            settings = [*plan.settings, *own, f"model.backbone={backbone}", f"train.seed={seed}"]
            recipe = _recipe(name, folder, settings, f"the plan, variant {variant!r}")
            source = recipe.heads.source
            group = json.dumps([name, source, settings_behind(recipe, source or "dataset")])
            inputs[group] = inputs.get(group) or stage_two_inputs(store, recipe, None)
            found = settle(recipe, store, inputs[group])
            key = metrics_key(found.recipe, store, found.inputs)
            tasks.append(Task(recipe, backbone, variant, seed, key, found.shut))
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SettingError("plan", f"two runs are called {twice}", "give each recipe a dataset.name of its own")
    return tasks


def _no_coordinates(plan: Plan) -> None:
    """Raises SettingError where a plan's settings name what tells its runs apart."""
    lists = {"settings": plan.settings} | {f"variants.{name}": own for name, own in plan.variants.items()}
    for field, settings in lists.items():
        for setting in settings:
            name = setting.partition("=")[0].strip()
            if name in _COORDINATES:
                raise SettingError(f"plan.{field}", f"{setting!r}", f"write it into {_COORDINATES[name]} of the plan")


def _recipe(name: str, folder: Path, settings: list[str], origin: str) -> Recipe:
    if name.endswith(".toml"):
        return load_recipe(name, folder / name, settings, origin)
    return load_recipe(name if name in built_in_recipes() else str(folder / name), None, settings, origin)


def run_sweep(tasks: list[Task], store: Store, results: Path, workers: int, kept: Callable[[], object]) -> None:
    """Run what has no result file yet, `workers` trainings at a time, each in a process of its own with one thread;
    `kept` is called after new result files. Runs that come to the same training share one. A run that fails, or whose
    process is killed, stops nothing; the first error, in the plan's order, is raised in the end. An interrupt ends the
    trainings under way; a later start resumes them."""
    results.mkdir(parents=True, exist_ok=True)
    by_key: dict[str, list[Task]] = {}
    for task in tasks:
        by_key.setdefault(task.key, []).append(task)
    shared = [_share(results, same) for same in by_key.values()]
    if any(shared):
        kept()
    open_tasks = [same[0] for same in by_key.values() if read_result(results, same[0]) is None]
    say(f"{len(tasks) - sum(len(by_key[task.key]) for task in open_tasks)} of {len(tasks)} runs are finished")
    failed: dict[str, str] = {}
    guard.watch()  # killed, it leaves no trainings behind
    trainings = _Trainings(store.root, results / "log")
    pool = ThreadPoolExecutor(workers)  # a thread waits for each process
    try:
        running = {pool.submit(trainings.run, task): task for task in open_tasks}
        for number, future in enumerate(as_completed(running), 1):
            task, found = running[future], future.result()
            if "error" in found:
                failed[task.name] = found["error"]
                say(f"[{number}/{len(open_tasks)}] {task.name}  failed: {found['error']}")
                continue
            _keep(results, task, found)
            _share(results, by_key[task.key])
            kept()
            say(f"[{number}/{len(open_tasks)}] {task.name}  ndcg@10 {found['ndcg@10']:.4f}  {found['seconds']:.0f} s")
    finally:
        trainings.stop()  # an interrupt reaches this process, and not always theirs
        pool.shutdown(cancel_futures=True)
    for task in open_tasks:
        if task.name in failed:
            raise SettingError(task.name, failed[task.name], f"{len(failed)} runs failed, see {results / 'log'}")


def _keep(results: Path, task: Task, found: dict[str, Any]) -> None:
    signed = {**found, _DIGEST: keys.digest(found)}
    write_atomic(results / f"{task.name}.json", (json.dumps(signed, indent=1) + "\n").encode())


def _share(results: Path, same: list[Task]) -> bool:
    """What one of some runs of the same key came to, the others come to. True where that is new."""
    found = [read_result(results, task) for task in same]
    known = next((each for each in found if each is not None), None)
    if known is None or None not in found:
        return False
    for task, each in zip(same, found, strict=True):
        if each is None:
            _keep(results, task, known)
    return True


class _Trainings:
    """The processes of a sweep: each run has one of its own."""

    def __init__(self, root: Path, log: Path) -> None:
        self._root, self._log = root, log
        self._lock, self._stopped = Lock(), False
        self._alive: set[SpawnProcess] = set()

    def run(self, task: Task) -> dict[str, Any]:
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


def _work(task: Task, root: Path, log: Path, sender: Connection) -> None:
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


def _result(task: Task, root: Path) -> dict[str, Any]:
    from pipeline.jobs import run_train

    recipe = task.recipe.model_copy(update={"speed": task.recipe.speed.model_copy(update={"threads": 1})})
    result = run_train(recipe, Store(root))
    if result.metrics.key != task.key:
        raise ArtifactError(task.name, "stage one was run anew meanwhile", "start the sweep again")
    ranks = result.metrics.table("ranks")[schema.RANK].to_numpy()
    return {
        "key": task.key,
        "checkpoint": result.checkpoint.key,
        **result.metrics.manifest.facts,
        **{name: result.checkpoint.fact(name) for name in ("valid_ndcg@10", "best_epoch", "epochs", "seconds")},
        "ranks": pack(ranks),
    }


def pack(ranks: np.ndarray) -> str:
    """Ranks [U] as text; those beyond 50 become 0."""
    small = np.where(ranks <= DEEPEST, ranks, 0).astype(np.uint8)
    return base64.b85encode(zlib.compress(small.tobytes(), 9)).decode()


def unpack(text: str) -> np.ndarray:
    """What `pack` made of ranks; those beyond 50 come back as 51."""
    small = np.frombuffer(zlib.decompress(base64.b85decode(text)), np.uint8).astype(np.int64)
    return np.where(small == 0, DEEPEST + 1, small)


def read_result(results: Path, task: Task) -> dict[str, Any] | None:
    """A run's result, or None where there is none, a damaged one, or one of other settings."""
    path = results / f"{task.name}.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict) or found.pop(_DIGEST, None) != keys.digest(found):
            return None
    except (ValueError, RecursionError):  # what a merge has left, say, is done again
        return None
    return found if found.get("key") == task.key else None
