"""Results for people: tables of finished metrics, and what a store holds."""

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eimf import schema
from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from pipeline.console import say, table
from pipeline.run import counts

if TYPE_CHECKING:
    import torch

_COLUMNS, _USUAL = 3, (10, 20)
"""Most cut-offs that a table shows; those shown of more."""


@dataclass(frozen=True)
class Result:
    """One finished training with its metrics."""

    label: str
    checkpoint: Artifact
    metrics: Artifact


def values(metrics: Artifact, chosen: str = "all") -> dict[tuple[str, int], float]:
    """Metric values of one slice of users, by name and cut-off."""
    rows = metrics.table("metrics").to_pylist()
    return {(row[schema.METRIC], row[schema.K]): row[schema.VALUE] for row in rows if row[schema.SLICE] == chosen}


def show_results(results: list[Result]) -> None:
    """One row a training, NDCG and Recall at the cut-offs that were measured, or the usual of them, and MRR at the last
    of these."""
    found = [values(result.metrics) for result in results]
    cutoffs = sorted({k for name, k in found[0] if name == "ndcg"})
    if len(cutoffs) > _COLUMNS:
        cutoffs = [k for k in cutoffs if k in _USUAL] or cutoffs[:_COLUMNS]
    shown = [(name, k) for k in cutoffs for name in ("ndcg", "recall")] + [("mrr", cutoffs[-1])]
    header = ["", *[f"{name}@{k}" for name, k in shown], "best epoch", "seconds"]
    rows = []
    for result, each in zip(results, found, strict=True):
        numbers = [f"{each[name]:.4f}" for name in shown]
        rows.append(
            [result.label, *numbers, *(f"{result.checkpoint.fact(name):.0f}" for name in ("best_epoch", "seconds"))]
        )
    table(header, rows)


def show_paired(plain: Result, other: Result) -> None:
    """Mean difference of NDCG@10 over the same users, with its standard error and the paired p."""
    import torch

    from eimf.evaluate import user_metric
    from eimf.metrics import paired_difference

    ranks = [
        torch.from_numpy(result.metrics.table("ranks")[schema.RANK].to_numpy().copy()) for result in (plain, other)
    ]
    mean, spread, p = paired_difference(*[user_metric(each, "ndcg", 10) for each in ranks])
    certainty = f"standard error {spread:.4f} over users, paired p = {p:.2g}"
    say(f"{other.label} - {plain.label}: NDCG@10 {mean:+.4f} ({certainty})")


def show_probe(probe: Artifact) -> None:
    """One row a source: mean AUC over users, the paired difference of the LLM's interests to it, and what it adds to
    the user's own history."""
    from eimf.metrics import paired_difference
    from eimf.train.probe import HISTORY, read_readings

    found = read_readings(probe.table("readings"))

    def cells(one: "torch.Tensor", other: "torch.Tensor") -> list[str]:
        mean, error, p = paired_difference(one, other)
        return [f"{mean:+.4f} ± {error:.4f}", f"{p:.2g}"]

    rows = []
    for name, source in found.items():
        against = ["", ""] if name == "true" else cells(source.alone, found["true"].alone)
        added = ["", ""] if name == HISTORY else cells(found[HISTORY].alone, source.with_history)
        rows.append([name, f"{source.alone.mean():.4f}", *against, *added])
    table(["", "AUC", "true minus it", "paired p", "it adds to history", "paired p"], rows)
    say("AUC of the validation item against items drawn by popularity; history: the user's own item texts, no LLM.")


def show_store(store: Store) -> None:
    """Every artifact: kind, key, when, from what, its counts; a damaged one with what is wrong."""
    rows, listing = [], store.listing()
    for kind, key in listing:
        try:
            artifact = store.get(kind, key)
            about = _about(artifact)
        except ArtifactError as error:
            say(f"damaged: {error}")
            continue
        manifest = artifact.manifest
        size = sum(entry.size for entry in manifest.files.values()) / 1e6
        rows.append([manifest.kind, artifact.short, manifest.created[:16], f"{size:.1f}", about])
    if not listing:
        say(f"{store.root} holds no artifact yet; start with `make demo` or `make esim`")
        return
    for kind, key, created, megabytes, facts in rows:
        say(f"{kind:<17} {key}  {created}  {megabytes:>8} MB  {facts}")


def _about(artifact: Artifact) -> str:
    """Its counts; of a training, first its backbone and parents. Raises ArtifactError if its manifest lacks these."""
    if artifact.manifest.kind == "metrics":
        return f"checkpoint={_told(artifact, 'parents', 'checkpoint')[:12]} {counts(artifact)}"
    if artifact.manifest.kind != "checkpoint":
        return counts(artifact)
    backbone, seed = (_told(artifact, "configuration", *path) for path in (("model", "backbone"), ("train", "seed")))
    parents = artifact.manifest.parents
    took = "interests" if "esim" in parents else "texts" if "item_vectors" in parents else "nothing"
    dataset = _told(artifact, "parents", "dataset")[:12]
    kept = " keep_seen" if artifact.manifest.configuration.get("keep_seen") is True else ""
    return f"{backbone} seed={seed} semantics={took} dataset={dataset}{kept} {counts(artifact)}"


def _told(artifact: Artifact, part: str, *path: str) -> str:
    """The value at `path` in a part of the manifest, as text. Raises ArtifactError if there is none."""
    value = getattr(artifact.manifest, part)
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None or isinstance(value, dict | list):
        raise artifact.damaged(f"its manifest does not tell {part}.{'.'.join(path)}")
    return str(value)[:100]


def show_backbones() -> None:
    """Every backbone of the catalogue at default settings: what it is, its vectors a user, its parameters, its
    options."""
    from eimf.models.catalogue import BACKBONES

    for name in BACKBONES:
        about, vectors, parameters, options = describe_backbone(name)
        many = "one vector" if vectors == 1 else f"{vectors} vectors"
        say(f"{name:<12}  {about}")
        usual = f"dropout {BACKBONES[name].usual_dropout:g} unless model.dropout says another"
        say(f"{'':<12}  {many} a user, {parameters:,} parameters beside the item table, {usual}")
        if options:
            say(f"{'':<12}  {' '.join(f'{option}={json.dumps(value)}' for option, value in options.items())}")
    say("choose by --backbone NAME, an option by --set model.options.NAME.OPTION=VALUE")


def describe_backbone(name: str) -> tuple[str, int, int, dict[str, object]]:
    """First line of its file; vectors a user; parameters beside the item table; options with their defaults."""
    import torch

    from eimf.config import ModelSettings
    from eimf.models.catalogue import BACKBONES
    from eimf.train.build import build_backbone, chosen_options

    settings = ModelSettings(backbone=name)
    model = build_backbone(settings, items=1, seed=0).eval()
    with torch.no_grad():
        one = torch.ones(1, 1, dtype=torch.int64)
        vectors = model.interests(one, one[0]).shape[1]
    parameters = sum(each.numel() for each in model.parameters()) - model.item_table.weight.numel()
    about = inspect.getmodule(BACKBONES[name]).__doc__ or ""
    return about.splitlines()[0], vectors, parameters, chosen_options(settings)
