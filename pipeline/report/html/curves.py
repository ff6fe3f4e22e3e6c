"""Training curves: validation and loss by epoch."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from eimf.errors import ArtifactError
from pipeline.report.card.markup import Markup, join, tag
from pipeline.report.html.document import Section, blocks
from pipeline.report.html.plots import lines
from pipeline.report.html.runs import Group, Study

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
    backbones = list(dict.fromkeys(backbone for backbone, _ in groups))
    if len(backbones) > _MOST_BACKBONES:
        problems.append(f"Training curves on {dataset}: of {', '.join(backbones[_MOST_BACKBONES:])}.")
    drawn: list[Markup] = []
    for backbone in backbones[:_MOST_BACKBONES]:
        curves: dict[str, list[dict[str, float]]] = {}
        for (of, variant), runs in _best_first(groups):
            if of != backbone or len(curves) == _MOST_LINES:
                continue
            try:
                if epochs := _epochs(runs):
                    curves[variant] = epochs
            except ArtifactError as error:
                problems.append(f"Training curves of {backbone} {variant}: {error}")
        number = sum(of == backbone for of, _ in groups)
        best = f" (the best {_MOST_LINES} of {number})" if number > _MOST_LINES else ""
        for title, name, y in (("Validation of", _VALID, "NDCG@10"), ("Loss of", _LOSS, "recommendation loss")):
            if series := _series(curves, name):
                drawn.append(_plot(f"{title} {backbone}{best}", series, y))
    return drawn, problems


def _best_first(groups: Mapping[tuple[str, str], Group]) -> list[tuple[tuple[str, str], Group]]:
    """A calibration has the training of the model that it calibrates, so one of both is enough."""
    return sorted(groups.items(), key=lambda item: -max(run.summary["ndcg@10"] for run in item[1].values()))


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
