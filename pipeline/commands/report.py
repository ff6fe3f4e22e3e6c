"""The command `report`: a store, a sweep or some trainings on one page."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Artifact, Store
from eimf.store.files import write_atomic
from pipeline.console import info, working
from pipeline.report.html.page import report_page
from pipeline.report.html.runs import Ranks, Run, Study, usable
from pipeline.report.html.stored import study_of_store
from pipeline.search.table import tables_of_winners
from pipeline.sweeps.plan import Plan, read_plan
from pipeline.sweeps.results import FILE, TrialResult, read_results

_ENDINGS = (".html", ".htm")
_RUN = "run `eimf sweep` or `eimf search`"


def run_report(
    store: Store,
    output: Path,
    *,
    keys: Sequence[str] = (),
    plan: Path | None = None,
    results: Path | None = None,
    names: Sequence[str] = (),
) -> None:
    """Write the report of a `plan` with its `results`, or of the trainings with these `keys`, or of all in the store.
    `names` of datasets of a store are KEY=NAME. Raises SettingError and ArtifactError if there is nothing to report."""
    check_output(output)
    if plan is not None and keys:
        raise SettingError("report", "a plan together with keys of trainings", "give one of them")
    if plan is not None and names:
        raise SettingError("report --name", "a plan has names of datasets", "write dataset.name into its recipes")
    with working("reading the trainings"):
        study = study_of_store(store, keys, _names(names)) if plan is None else study_of_plan(plan, results, store)
    command = " ".join(["eimf report", *keys, *(["--plan", plan.name] if plan else [])])
    write_report(study, output, f"{command} -o {output.name}")


def _names(given: Sequence[str]) -> dict[str, str]:
    """By the beginning of the key. Raises SettingError for what is not KEY=NAME."""
    names = {}
    for text in given:
        key, _, name = (part.strip() for part in text.partition("="))
        if not key or not name:
            raise SettingError("report --name", f"{text!r} is not KEY=NAME", "see `eimf status` for the keys")
        names[key] = name
    return names


def check_output(output: Path) -> None:
    """Raise SettingError for another ending than that of a page."""
    if output.suffix.lower() not in _ENDINGS:
        problem = f"{output} has the ending {output.suffix!r}"
        raise SettingError("report --output", problem, f"end the name with one of {', '.join(_ENDINGS)}")


def write_report(study: Study, output: Path, command: str) -> None:
    """Write the page of a study, which `command` makes again."""
    with working(f"comparing {len(study.runs)} trainings"):
        page = report_page(study, command).encode()
    write_atomic(output, page)
    for problem in study.left_out:
        info(f"left out: {problem}")
    trainings = "1 training" if len(study.runs) == 1 else f"{len(study.runs)} trainings"
    info(f"{trainings} on a page of {_size(len(page))}: {output}")


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 999_500 else f"{size / 1e3:.0f} KB"


def study_of_plan(path: Path, results: Path | None, store: Store) -> Study:
    """The finished trials of a plan, and what the store has of them. Raises SettingError without any."""
    folder = results or path.with_suffix("")
    study = study_of_sweep(read_plan(path), path.stem, folder, store)
    searched = tables_of_winners(read_results(folder)[0].values(), folder)
    about = f"The {len(study.runs)} trainings that a search ended with" if searched else study.about
    return replace(study, searched=tuple(searched), about=about)


def study_of_sweep(plan: Plan, name: str, folder: Path, store: Store) -> Study:
    """The finished trials of a plan of this `name` in a folder of results. Raises SettingError without any."""
    finished, problems = read_results(folder)
    trials = [result for result in finished.values() if _of_plan(result, plan)]
    if not trials:
        reason = problems[0] if problems else f"no trial of {name} is in {folder / FILE}"
        raise SettingError("report --plan", reason, f"{_RUN} first, or give the folder by --results")
    if other := len(finished) - len(trials):
        problems.append(f"{other} results in {folder / FILE} are of no trial of the plan.")
    wanted = len(plan.recipes) * len(plan.backbones) * len(plan.variants) * len(plan.seeds)
    if len(trials) < wanted:
        problems.append(f"{wanted - len(trials)} of {wanted} trials are not finished.")
    runs, unusable = usable([_run(result, store) for result in sorted(trials, key=lambda of: _place(of, plan))])
    if not runs:
        raise ArtifactError(str(folder / FILE), f"no trial can be reported: {unusable[0]}", f"{_RUN} again")
    return Study(
        title=name,
        about=f"Sweep of {wanted} trainings, {len(runs)} of which are in this report",
        runs=tuple(runs),
        pairs=tuple(_pairs(plan)),
        store=store,
        datasets=_datasets(runs, store),
        settings={name: (*plan.settings, *settings) for name, settings in plan.variants.items()},
        left_out=(*problems, *unusable),
    )


def _of_plan(result: TrialResult, plan: Plan) -> bool:
    return result.backbone in plan.backbones and result.variant in plan.variants and result.seed in plan.seeds


def _place(result: TrialResult, plan: Plan) -> tuple[str, int, int, int]:
    """In the order of the plan."""
    backbone, variant = plan.backbones.index(result.backbone), list(plan.variants).index(result.variant)
    return result.dataset, backbone, variant, plan.seeds.index(result.seed)


def _run(result: TrialResult, store: Store) -> Run:
    metrics = _found(store, "metrics", result.key)
    parents = metrics.manifest.parents if metrics else {}
    return Run(
        dataset=result.dataset,
        backbone=result.backbone,
        variant=result.variant,
        seed=result.seed,
        summary=result.summary,
        read=partial(_ranks, result),
        metrics=metrics,
        checkpoint=_found(store, "checkpoint", parents.get("checkpoint") or result.checkpoint),
        calibration=_found(store, "calibration", parents.get("calibration")),
    )


def _found(store: Store, kind: str, key: str | None) -> Artifact | None:
    return store.find(kind, key) if key else None


def _ranks(result: TrialResult) -> Ranks:
    return Ranks(result.target_ranks(), result.target_cases())


def _pairs(plan: Plan) -> list[tuple[str, str]]:
    """Every variant with each baseline; two baselines are compared once."""
    pairs: list[tuple[str, str]] = []
    for base in plan.baselines:
        pairs += [(name, base) for name in plan.variants if name != base and (base, name) not in pairs]
    return pairs


def _datasets(runs: Sequence[Run], store: Store) -> dict[str, Artifact]:
    """Those that the store has, by the names of the plan."""
    keys = {run.dataset: run.metrics.parent("dataset") for run in runs if run.metrics is not None}
    found = {name: store.find("dataset", key) for name, key in keys.items()}
    return {name: dataset for name, dataset in found.items() if dataset is not None}
