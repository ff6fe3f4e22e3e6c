"""Results for people: tables of finished metrics, and what a store holds."""

from dataclasses import dataclass

from eimf import schema
from eimf.store.artifact import Artifact, Store
from pipeline.console import say, table

_SHOWN = (("ndcg", 10), ("recall", 10), ("ndcg", 20), ("recall", 20), ("mrr", 20))


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
    """One row a training, with the cut-offs among the shown ones that were measured."""
    found = [values(result.metrics) for result in results]
    shown = [name for name in _SHOWN if all(name in each for each in found)]
    header = ["", *[f"{name}@{k}" for name, k in shown], "best epoch", "seconds"]
    rows = []
    for result, each in zip(results, found, strict=True):
        manifest = result.checkpoint.manifest
        numbers = [f"{each[name]:.4f}" for name in shown]
        rows.append([result.label, *numbers, str(manifest.facts["best_epoch"]), f"{manifest.facts['seconds']:.0f}"])
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


def show_store(store: Store) -> None:
    """Every artifact: kind, key, when, from what, its counts."""
    rows = []
    for artifact in store.artifacts():
        manifest = artifact.manifest
        size = sum(entry.size for entry in manifest.files.values()) / 1e6
        facts = " ".join(f"{name}={value}" for name, value in manifest.facts.items())
        rows.append([manifest.kind, artifact.short, manifest.created[:16], f"{size:.1f}", facts])
    if not rows:
        say(f"{store.root} holds no artifact yet; start with `make demo` or `make esim`")
        return
    for kind, key, created, megabytes, counts in rows:
        say(f"{kind:<17} {key}  {created}  {megabytes:>8} MB  {counts}")
