"""The jobs behind the verbs of the command line."""

import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from eimf.config import HeadSettings, ModelSettings
from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from eimf.store.files import remove_stale_files, write_atomic
from eimf.store.replies import ReplyStore
from pipeline import parallel
from pipeline.comparison import comparison
from pipeline.console import say
from pipeline.demo import show_next_steps, show_seconds, show_typical_users
from pipeline.engines import Engines
from pipeline.esim_stages import STAGES
from pipeline.gate import Settled, probed, settle, verdict
from pipeline.recipe import Recipe
from pipeline.refs import HANDED_OVER, read_ref_file, save_ref, stage_two_inputs
from pipeline.report import Result, show_paired, show_probe, show_results
from pipeline.run import Run, find, make
from pipeline.sweep import read_plan, run_sweep, tasks_of
from pipeline.train_stages import follow, train_stages

_MANY_EVENTS = 50
"""A user: between those of the Amazon sets, some ten, and those of MovieLens, a hundred and more."""
_MANY_REPEATS = 0.05
"""Share of test targets that the user had before: leaving such items out of the lists then tells in the metrics."""


def run_esim(recipe: Recipe, store: Store, engines: Engines | None = None) -> dict[str, Artifact]:
    """Stages 1 to 9. Returns every artifact by kind."""
    store.remove_stale()
    with closing(engines or Engines(recipe, store)) as opened:
        run = Run(recipe, store, opened)
        # All of them first: a wrong model or template is found before minutes are spent.
        check_backbone(recipe.model)
        configurations = {stage.kind: stage.configuration(run) for stage in STAGES}
        _name_commits(run)
        made: dict[str, Artifact] = {}
        built: set[str] = set()
        for stage in STAGES:
            made[stage.kind], new = make(stage, run, made, configurations[stage.kind])
            built |= {stage.kind} if new else set()
            if stage.kind in HANDED_OVER:
                save_ref(store, recipe, made[stage.kind])
    asked = made["interests"].fact("llm_requests") if "interests" in built else 0
    say(f"esim {made['esim'].short} is ready: {len(built)} of {len(STAGES)} stages built, LLM requests: {asked}")
    return made


def check_backbone(settings: ModelSettings) -> None:
    """Raises SettingError for a backbone or options that stage two would refuse. Loads torch where any were chosen."""
    if settings.backbone != ModelSettings().backbone or settings.options:
        from eimf.train.build import model_configuration

        model_configuration(settings)


def _name_commits(run: Run) -> None:
    """A hub moves on: a recipe that names no commit may mean another model on the next machine."""
    named = {"encoder": run.engines.encoder_identity, "llm": run.engines.generator_identity}
    for section, identity in named.items():
        model = identity.get("model", "")
        if model.startswith("hub ") and getattr(run.recipe, section).revision != model.rpartition("@")[2]:
            say(f"{section}.model is {model.removeprefix('hub ')}; set {section}.revision to that commit to keep it")


def run_verify(store: Store) -> None:
    """Check every file of every artifact, every reply, and every ref. Raises ArtifactError where the store is not there
    or, once all were seen, where something is damaged."""
    if not store.root.is_dir():
        raise ArtifactError("store", f"no folder {store.root}", "give the root of a store")
    replies = [ReplyStore(store.root, folder.name) for folder in sorted(store.root.glob("replies/*"))]
    refs = sorted(store.root.glob("refs/*/*.json"))
    checks: list[Callable[[], object]] = [partial(_verify, store, *each) for each in store.listing()]
    checks += [each.read for each in replies]
    checks += [partial(read_ref_file, path) for path in refs]
    damaged = []
    for check in checks:
        try:
            check()
        except ArtifactError as error:
            say(f"damaged: {error}")
            damaged.append(error)
    whole = len(checks) - len(damaged)
    artifacts = len(checks) - len(replies) - len(refs)
    counts = f"{artifacts} artifacts, replies of {len(replies)} generators, {len(refs)} refs"
    say(f"{whole} of {len(checks)} are whole: {counts}")
    if damaged:
        raise damaged[0]


def _verify(store: Store, kind: str, key: str) -> None:
    store.get(kind, key).verify()


def run_train(recipe: Recipe, store: Store, esim_key: str | None = None) -> Result:
    """Stages 10 to 12 against frozen artifacts."""
    store.remove_stale()
    inputs = stage_two_inputs(store, recipe, esim_key)
    _tell_repeats(recipe, inputs["dataset"])
    origin = inputs[recipe.heads.source or "dataset"]
    say(f"{origin.manifest.kind} {origin.short} of {origin.manifest.created[:16]} is frozen; LLM requests: 0")
    _advise(recipe, inputs["dataset"])
    found = settle(recipe, store, inputs)
    if found.verdict:
        say(found.verdict.reason)
    run, made = Run(found.recipe, store, Engines(recipe)), dict(found.inputs)
    for stage in train_stages(found.recipe):
        made[stage.kind], _ = make(stage, run, made, stage.configuration(run))
    parallel.finish(recipe.speed)
    return Result(label(found), made["checkpoint"], made["metrics"])


def _tell_repeats(recipe: Recipe, dataset: Artifact) -> None:
    """Say that many users come back to items that they had, if the recipe leaves such items out."""
    share = dataset.fact("repeated_targets") / max(1, dataset.fact("users"))
    if share > _MANY_REPEATS and not recipe.evaluate.keep_seen:
        repeats = f"{share:.0%} of the test targets are items that the user had before; these are left out: misses"
        say(f"{repeats}; evaluate.keep_seen=true (--keep-seen) recommends and counts them too")


def _advise(recipe: Recipe, dataset: Artifact) -> None:
    """The defaults suit users of some ten events; where they have many more, and nothing else was chosen, say so."""
    events = dataset.fact("events") / max(1, dataset.fact("users"))
    if recipe.model.dropout is None and events > _MANY_EVENTS:
        say(
            f"advice: {events:.0f} events a user: model.dropout=0.2 and a cosine schedule, see eimf/README.md, Training"
        )


def follow_train(recipe: Recipe, store: Store, esim_key: str | None = None) -> None:
    """The part in `run_train` of every process but the first, where torchrun started several."""
    found = settle(recipe, store, stage_two_inputs(store, recipe, esim_key))
    follow(Run(found.recipe, store, Engines(recipe)), found.inputs)


def run_evaluate(recipe: Recipe, store: Store, esim_key: str | None = None) -> Result:
    """Stage 12, and the gate's, of a training that is finished. Raises ArtifactError where it is not."""
    store.remove_stale()
    inputs = stage_two_inputs(store, recipe, esim_key)
    _tell_repeats(recipe, inputs["dataset"])
    found = settle(recipe, store, inputs)
    run = Run(found.recipe, store, Engines(recipe))
    first, second = train_stages(found.recipe)
    checkpoint = find(first, run, found.inputs)
    if checkpoint is None:
        raise ArtifactError("checkpoint", "these settings were not trained yet", "run `make train` with them")
    metrics, _ = make(second, run, {**found.inputs, "checkpoint": checkpoint}, second.configuration(run))
    return Result(label(found), checkpoint, metrics)


def run_plan(path: Path, store: Store, results: Path | None, workers: int) -> None:
    """Every run of a plan, and the table of all that is finished; `results`/table.md, by default in a folder named like
    the plan, holds it at any time."""
    plan = read_plan(path)
    results = results or path.with_suffix("")
    store.remove_stale()
    remove_stale_files(results)
    tasks = tasks_of(plan, path.resolve().parent, store)

    def keep_table() -> str:
        table = comparison(plan, tasks, results)
        write_atomic(results / "table.md", table.encode())
        return table

    try:
        run_sweep(tasks, store, results, workers, keep_table)
    finally:
        table = keep_table()
        say()
        say(table)


def run_probe(recipe: Recipe, store: Store, esim_key: str | None = None) -> None:
    """How well the LLM's interests tell the users' validation items from others, how well their controls do, and what
    either adds to the users' own histories; and what the gate makes of it."""
    store.remove_stale()
    recipe = recipe.model_copy(update={"heads": HeadSettings()})
    probe = probed(recipe, store, stage_two_inputs(store, recipe, esim_key))
    show_probe(probe)
    say(verdict(probe).reason)


def run_demo(recipe: Recipe, store: Store) -> None:
    """Stage one, then the same backbone and seed four times: plain, with the items' texts, by the published method, and
    with the texts and the LLM's interests, if these pass the gate. Then what the LLM said, and where the time went."""
    begin, before, engines = time.monotonic(), set(store.listing()), Engines(recipe, store)
    artifacts = run_esim(recipe, store, engines)
    others = [recipe.model_copy(update={"heads": HeadSettings(preset=name)}) for name in ("plain", "text", "paper")]
    results = [run_train(variant, store) for variant in (*others, recipe)]
    say()
    show_results(results)
    for other in results[:-1]:
        if other.checkpoint.key != results[-1].checkpoint.key:
            show_paired(other, results[-1])
    say()
    show_typical_users(artifacts)
    say()
    finished = {**artifacts, **{result.label: result.checkpoint for result in results}}
    built = {
        name: artifact for name, artifact in finished.items() if (artifact.manifest.kind, artifact.key) not in before
    }
    show_seconds(built, time.monotonic() - begin, engines.seconds)
    show_next_steps()


def label(trained: Settled) -> str:
    """Short name of a training for tables."""
    heads = trained.recipe.heads
    usual = HeadSettings(preset=heads.preset, control=heads.control, gate=heads.gate)
    if trained.shut:
        usual = usual.without_interests()
    own = "".join(f" {name}={value}" for name, value in heads if value != getattr(usual, name))
    control = f" {heads.control}" if heads.asks_llm and heads.control != "true" else ""
    shut = ", gate shut" if trained.shut else ""
    kept = ", seen items kept" if trained.recipe.evaluate.keep_seen else ""
    return f"{trained.recipe.model.backbone} {'plain' if heads.plain else heads.preset + own}{control}{shut}{kept}"
