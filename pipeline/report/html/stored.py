"""The trainings of a store as a study: what each is called, and what it is compared with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from eimf import schema
from eimf.config import CalibrateSettings, HeadSettings
from eimf.config.heads import PRESETS
from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Artifact, Store
from pipeline.report.html.runs import Ranks, Run, Study, usable
from pipeline.trained import CALIBRATION, CHECKPOINT, training_configuration

_NUMBERS = ("valid_ndcg@10", "best_epoch", "epochs", "seconds")
_METRICS, _DATASET, _PLAIN, _LLM = "metrics", "dataset", "plain", "llm"


def study_of_store(store: Store, keys: Sequence[str] = (), names: Mapping[str, str] | None = None) -> Study:
    """All measured trainings of a store, or those of the checkpoints and calibrations with these `keys`, which may be
    shortened. `names`: of datasets, by the beginning of their keys. Raises ArtifactError if there is none, and
    SettingError for a name that is not of one dataset."""
    datasets, problems = _datasets(store, names or {})
    measured, more = _measured(store, keys)
    configured = []
    for metrics, model, checkpoint in measured:
        name = next((name for name, dataset in datasets.items() if dataset.key == metrics.parent(_DATASET)), None)
        if name is None:
            more.append(f"metrics {metrics.short}: {store.address} lacks dataset {metrics.parent(_DATASET)[:12]}")
            continue
        configured.append((_run(name, metrics, model, checkpoint), _flat(_configuration(model))))
    runs, unusable = usable(_named(configured))
    if not runs:
        found = [*problems, *more, *unusable]
        if not found:
            raise ArtifactError(store.address, "no measured training is in this store", "start with `make train`")
        raise ArtifactError(store.address, f"no training can be reported: {found[0]}", "run `eimf verify`")
    chosen = dict.fromkeys(run.dataset for run in runs)
    return Study(
        title="Trainings of a store" if not keys else "Chosen trainings",
        about=store.address,
        runs=tuple(runs),
        pairs=tuple(_pairs(runs)),
        store=store,
        datasets={name: datasets[name] for name in chosen},
        settings={run.variant: _control(run) for run in runs},
        left_out=(*problems, *more, *unusable),
    )


def read_ranks(metrics: Artifact) -> Ranks:
    """The ranks of all relevant items. Raises ArtifactError."""
    table = metrics.table("ranks", [schema.RANK, schema.CASE])
    return Ranks(*(table[column].to_numpy() for column in (schema.RANK, schema.CASE)))


def dataset_name(dataset: Artifact) -> str:
    """What a dataset is called that no plan names."""
    users, items = (int(dataset.summary_number(name)) for name in ("users", "items"))
    return f"{users:,} users, {items:,} items ({dataset.key[:6]})"


def _datasets(store: Store, names: Mapping[str, str]) -> tuple[dict[str, Artifact], list[str]]:
    found = list(_artifacts(store, _DATASET))
    readable = [dataset for dataset, _ in found if dataset is not None]
    chosen: dict[str, str] = {}
    for key, name in names.items():
        meant = [dataset.key for dataset in readable if dataset.key.startswith(key)]
        if len(meant) != 1 or meant[0] in chosen or name in chosen.values():
            number = "no dataset begins" if not meant else f"{len(meant)} datasets begin"
            problem = f"{number} with {key[:100]!r}" if len(meant) != 1 else f"{name!r} or its dataset is given twice"
            raise SettingError("report --name", problem, "see `eimf status` for the keys")
        chosen[meant[0]] = name
    named = {chosen.get(dataset.key) or dataset_name(dataset): dataset for dataset in readable}
    return named, [problem for dataset, problem in found if dataset is None]


def _artifacts(store: Store, kind: str) -> Iterable[tuple[Artifact | None, str]]:
    """Every artifact of a kind, the oldest first, or why it cannot be read."""
    readable: list[Artifact] = []
    for listed, key in store.listing():
        if listed != kind:
            continue
        try:
            readable.append(store.get(kind, key))
        except ArtifactError as error:
            yield None, str(error)
    for artifact in sorted(readable, key=lambda one: one.manifest.created):
        yield artifact, ""


def _measured(store: Store, keys: Sequence[str]) -> tuple[list[tuple[Artifact, Artifact, Artifact]], list[str]]:
    """Metrics with what was measured and its checkpoint, and what cannot be read. Of several metrics of one model the
    newest with the same rule for seen items. Raises ArtifactError for one of `keys` that nothing has."""
    found: dict[tuple[str, bool], tuple[Artifact, Artifact, Artifact]] = {}
    problems: list[str] = []
    matched: set[str] = set()
    for metrics, problem in _artifacts(store, _METRICS):
        if metrics is None:
            problems.append(problem)
            continue
        parents = metrics.manifest.parents
        of = CALIBRATION if CALIBRATION in parents else CHECKPOINT
        given = [key for key in keys if metrics.parent(of).startswith(key)]
        matched.update(given)
        if keys and not given:
            continue
        try:
            model = store.parent(metrics, of)
            checkpoint = model if of == CHECKPOINT else store.parent(model, CHECKPOINT)
        except ArtifactError as error:
            problems.append(str(error))
            continue
        keep_seen = metrics.manifest.configuration.get("evaluate", {}).get("keep_seen") is True
        found[model.key, keep_seen] = metrics, model, checkpoint
    if missing := [key for key in keys if key not in matched]:
        problem = f"no measured checkpoint or calibration begins with {missing[0][:100]!r} in {store.address}"
        raise ArtifactError("checkpoint", problem, "see `eimf status` for what the store holds")
    return list(found.values()), problems


def _configuration(model: Artifact) -> dict[str, Any]:
    """The settings of a training, and of its calibration."""
    settings = training_configuration(model)
    if model.manifest.kind == CALIBRATION:
        settings["calibrate"] = model.manifest.configuration.get("calibrate")
    return settings


def _run(name: str, metrics: Artifact, model: Artifact, checkpoint: Artifact) -> Run:
    settings = _configuration(model)
    summary = {**metrics.manifest.summary, **{n: checkpoint.manifest.summary.get(n) for n in _NUMBERS}}
    return Run(
        dataset=name,
        backbone=str(settings["model"]["backbone"]),
        variant=_preset(settings),
        seed=int(settings["train"]["seed"]),
        summary={key: value for key, value in summary.items() if value is not None},
        read=lambda: read_ranks(metrics),
        metrics=metrics,
        checkpoint=checkpoint,
        calibration=model if model.manifest.kind == CALIBRATION else None,
    )


def _preset(settings: Mapping[str, Any]) -> str:
    """The name of the preset, with what the calibration adds or leaves out."""
    heads, calibrated = settings["heads"], settings.get("calibrate")
    control = heads.get("control", _LLM)
    usual = {**heads, "control": _LLM}
    names = [name for name in PRESETS if HeadSettings(preset=name).configuration() == usual]
    sources = tuple((calibrated or {}).get("sources") or ())
    exact = [name for name in names if (CalibrateSettings().of_preset(name).sources or ()) == sources]
    name = (exact or names or ["own heads"])[0]
    more = "" if exact or not sources else f" + {', '.join(sources)}"
    return f"{name}{more}" + (f", control {control}" if control != _LLM else "")


def _control(run: Run) -> tuple[str, ...]:
    """Of the settings of a variant what its name does not say to a program."""
    control = training_configuration(run.checkpoint)["heads"].get("control", _LLM) if run.checkpoint else _LLM
    return () if control == _LLM else (f"heads.control={control}",)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Every setting but backbone and seed, by its name."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif f"{prefix}{name}" not in ("train.seed", "model.backbone"):
            flat[f"{prefix}{name}"] = str(value)
    return flat


def _named(configured: Sequence[tuple[Run, dict[str, str]]]) -> list[Run]:
    """The runs; variants that have one name and different settings are told apart by these."""
    groups: dict[tuple[str, str, str], list[tuple[Run, dict[str, str]]]] = {}
    for run, flat in configured:
        groups.setdefault((run.dataset, run.backbone, run.variant), []).append((run, flat))
    named: dict[tuple[str, str, str, int], Run] = {}
    for members in groups.values():
        settings = dict.fromkeys(name for _, flat in members for name in flat)
        differing = [name for name in settings if len({flat.get(name) for _, flat in members}) > 1]
        for run, flat in members:
            told = ", ".join(f"{name.rpartition('.')[2]} {flat[name].lower()}" for name in differing if name in flat)
            variant = f"{run.variant} ({told})" if told else run.variant
            # Of one training under several versions the newest counts: they come in the order of their metrics.
            named[run.dataset, run.backbone, variant, run.seed] = replace(run, variant=variant)
    return sorted(named.values(), key=lambda run: (run.dataset, run.backbone, run.variant, run.seed))


def _pairs(runs: Sequence[Run]) -> Iterable[tuple[str, str]]:
    """Every variant with its plain one, and with its controls."""
    models: dict[tuple[str, str], dict[str, list[Run]]] = {}
    for run in runs:
        models.setdefault((run.dataset, run.backbone), {}).setdefault(run.variant, []).append(run)
    pairs: dict[tuple[str, str], None] = {}
    for variants in models.values():
        plain = [name for name in variants if _is_plain(name)]
        pairs |= dict.fromkeys((name, _plain_of(name, plain, variants)) for name in variants if plain)
        controls = [name for name in variants if ", control " in name]
        pairs |= dict.fromkeys((name, of) for of in controls for name in variants if of.startswith(f"{name}, control "))
    return [(variant, base) for variant, base in sorted(pairs) if variant != base and not _is_plain(variant)]


def _is_plain(variant: str) -> bool:
    return variant.partition(" (")[0] == _PLAIN


def _plain_of(variant: str, plain: Sequence[str], variants: Mapping[str, Sequence[Run]]) -> str:
    """The one with the same further settings; or else of those with the most seeds the best, to be fair to it."""
    same = [name for name in plain if name.partition(" (")[2] == variant.partition(" (")[2]]
    return max(same or plain, key=lambda name: (len(variants[name]), max(r.summary["ndcg@10"] for r in variants[name])))
