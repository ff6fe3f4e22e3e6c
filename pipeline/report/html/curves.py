"""Training curves: validation and loss by epoch."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from eimf.errors import ArtifactError
from pipeline.report.html.document import Section, blocks
from pipeline.report.html.plots import lines
from pipeline.report.html.runs import Group, Study
from pipeline.report.markup import Markup, join, tag

_VALID, _LOSS = "valid_ndcg@10", "rec"
_MOST_LINES, _MOST_BACKBONES = 6, 4


def curves_section(study: Study) -> tuple[Section | None, list[str]]:
    """The section, or None without any checkpoint; and in words what it lacks."""
    parts: list[Markup] = []
    problems: list[str] = []
    for dataset in study.names:
        drawn, lacking = _dataset(study, dataset)
        problems += lacking
        if drawn:
            parts += [tag("h3", tag("bdi", dataset)), blocks(*drawn)]
    if not parts:
        return None, ["Training curves: the store has no checkpoint of these trainings.", *problems]
    note = tag("p", "Means over the seeds that reached the epoch.", class_="note")
    return Section("curves", "Training curves", join(*parts, note)), problems


def _dataset(study: Study, dataset: str) -> tuple[list[Markup], list[str]]:
    groups, problems = study.groups(dataset), list[str]()
    different = _different(_best_first(groups))
    backbones = list(dict.fromkeys(backbone for backbone, _ in different))
    if len(backbones) > _MOST_BACKBONES:
        rest = ", ".join(backbones[_MOST_BACKBONES:])
        problems.append(f"Training curves on {dataset}: those of {rest}, which are not among the best.")
    drawn: list[Markup] = []
    for backbone in backbones[:_MOST_BACKBONES]:
        curves: dict[str, list[dict[str, float]]] = {}
        for (of, variant), runs in different.items():
            if of != backbone or len(curves) == _MOST_LINES:
                continue
            try:
                if epochs := _epochs(runs):
                    curves[variant] = epochs
            except ArtifactError as error:
                problems.append(f"Training curves of {backbone} {variant}: {error}")
        number = sum(of == backbone for of, _ in different)
        best = f" (the best {_MOST_LINES} of {number})" if number > _MOST_LINES else ""
        for title, name, y in (("Validation of", _VALID, "NDCG@10"), ("Loss of", _LOSS, "recommendation loss")):
            if series := _series(curves, name):
                drawn.append(_plot(f"{title} {backbone}{best}", series, y))
    return drawn, problems


Groups = Mapping[tuple[str, str], Group]


def _best_first(groups: Groups) -> Groups:
    order = sorted(groups, key=lambda key: -max(run.summary["ndcg@10"] for run in groups[key].values()))
    return {key: groups[key] for key in order}


def _different(groups: Groups) -> Groups:
    """Without calibrations of what has a line: a calibration has the training, and the curve, of its model."""
    drawn: set[str] = set()
    plain = {key for key, runs in groups.items() if not any(run.calibration for run in runs.values())}
    chosen = set()
    for key in sorted(groups, key=lambda key: key not in plain):
        checkpoints = {run.checkpoint.key for run in groups[key].values() if run.checkpoint is not None}
        if not checkpoints or not checkpoints <= drawn:
            chosen.add(key)
        drawn |= checkpoints
    return {key: runs for key, runs in groups.items() if key in chosen}


def _epochs(runs: Group) -> list[dict[str, float]]:
    """Mean of every number of every epoch, over the seeds that have it. Raises ArtifactError."""
    logs = [_read(run.checkpoint.file("epochs.jsonl")) for run in runs.values() if run.checkpoint is not None]
    means = []
    for number in range(max(map(len, logs), default=0)):
        reached = [log[number] for log in logs if number < len(log)]
        names = set.intersection(*(set(epoch) for epoch in reached))
        means.append({name: float(np.mean([epoch[name] for epoch in reached])) for name in names})
    return means


def _read(path) -> list[dict[str, float]]:  # type: ignore[no-untyped-def]
    return [json.loads(line) for line in path.read_text().splitlines()]


def _series(
    curves: Mapping[str, Sequence[Mapping[str, float]]], name: str
) -> list[tuple[str, list[float], list[float]]]:
    series = []
    for variant, epochs in curves.items():
        values = [epoch[name] for epoch in epochs if name in epoch and np.isfinite(epoch[name])]
        if values:
            series.append((variant, [float(number) for number in range(1, len(values) + 1)], values))
    return series


def _plot(title: str, series: list[tuple[str, list[float], list[float]]], y: str) -> Markup:
    said = "; ".join(f"{name}: {ys[0]:.4f} after epoch 1, {ys[-1]:.4f} after epoch {len(ys)}" for name, _, ys in series)
    return lines(title, said, series, x="epoch", y=y, height=260 + 18 * (len(series) // 2))
