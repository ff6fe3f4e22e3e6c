"""Calibration: which sources stay beside a trained model, with which weights, and the model that has them.

Our decision. The scores of the model and of the sources are the columns of a conditional logit over the catalogue,
fitted on validation events. A source stays only if its loss costs the others more than chance: sources are dropped one
after the other, the least useful first, judged by weights that were fitted on the other half of the people. A source
with controls, such as what an LLM said, stays only if it is worth more than each of them in its place. If what is left
does not rank better than the model alone, nothing stays. The weights of what stays are fitted once more, among the
items of a shortlist for each case (`eimf.choice.shortlist`). The weights are divided by that of the model and become
further coordinates of users and items (`eimf.choice.calibrated`). Test events are not looked at.

Shapes: C cases, N items, R coordinates, F columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch

from eimf.backbones.base import Backbone
from eimf.choice.calibrated import Calibrated
from eimf.choice.cases import FEWEST
from eimf.choice.design import Design, HalfFits, Judged, fit_everybody, fit_halves, judge_halves, judge_without
from eimf.choice.logit import ndcg_of, without
from eimf.choice.shortlist import shortlists
from eimf.choice.sources import ItemSource, PairSource, Source
from eimf.choice.verdict import Comparison, compare


@dataclass(frozen=True)
class Calibration:
    """The sources that stay, with the `weights` of their columns relative to that of the model; what every source adds
    to those that stay (or, of one that was dropped, added when it was), compared with its best control if that was
    asked; and NDCG@10 of the validation events by the model `alone`, and `calibrated`, by the weights of the other half
    of the people among the shortlists."""

    weights: dict[str, np.ndarray] = field(default_factory=dict)
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    alone: float = 0.0
    calibrated: float = 0.0


def calibrate(
    design: Design, significance: float, controls: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Calibration:
    """Choose among the sources of a design, whose first one is the model. `controls` are the names of those sources of
    the design that are no choice of their own, but controls of another one, by its name."""
    model, *further = [name for name in design.names if not any(name in every for every in controls.values())]
    comparisons: dict[str, Comparison] = {}
    fits = fit_halves(design, [model, *further])
    judged = judge_halves(design, fits)

    while further:
        parts = dict(zip(further, judge_without(design, fits, further), strict=True))
        compared = {name: compare(part, judged) for name, part in parts.items()}
        weakest = min(compared, key=lambda name: _strength(compared[name]))
        if compared[weakest].adds(significance):
            for name in further:
                others = [model, *(other for other in further if other != name)]
                control = _best_control(design, others, controls.get(name, ()), fits)
                compared[name] = compare(parts[name], judged, control)
            weakest = next((name for name in further if not compared[name].adds(significance)), "")
        comparisons |= compared
        if not weakest:
            break
        left_out = design.columns([weakest])
        further.remove(weakest)
        fits = fit_halves(design, [model, *further], [without(fit.weights, fit.curvature, left_out) for fit in fits])
        judged = judge_halves(design, fits)
    weights = (fits[0].weights + fits[1].weights) / 2
    short = shortlists(design, [model, *further], weights, FEWEST)
    alone = float(ndcg_of(short.rank).mean())
    nothing = Calibration({}, comparisons, alone, alone)
    if not further or short.design is None:
        return nothing
    fits = fit_halves(short.design, short.design.names)
    after = float(judge_halves(short.design, fits).ndcg.sum()) / len(design.choices)
    begin = (fits[0].weights + fits[1].weights) / 2
    weights = fit_everybody(short.design, short.design.names, begin) / short.design.scale
    ranges = short.design.ranges
    own = float(weights[ranges[model]][0])
    if after <= alone or own <= 0:
        return nothing
    return Calibration({name: weights[ranges[name]] / own for name in further}, comparisons, alone, after)


def _best_control(design: Design, others: Sequence[str], controls: Sequence[str], fits: HalfFits) -> Judged | None:
    """The control that predicts best beside the `others`; None without any."""
    begin = [fit.weights for fit in fits]
    judged = [judge_halves(design, fit_halves(design, [*others, name], begin)) for name in controls]
    return max(judged, key=lambda control: float(control.nats.mean()), default=None)


def _strength(comparison: Comparison) -> float:
    """The gain in units of its standard error."""
    nats = comparison.nats
    return nats.value / nats.error if nats.error > 0 else 0.0


def calibrated_model(backbone: Backbone, sources: Sequence[Source], weights: dict[str, np.ndarray]) -> Calibrated:
    """The backbone with the sources that have weights. A source of pairs whose history and item vectors differ takes
    coordinates for both."""
    num_items = backbone.item_table.num_embeddings - 1
    bias, coordinates = np.zeros(num_items), [np.zeros((num_items, 0), np.float32)]
    maps: list[tuple[slice, slice, np.ndarray]] = []
    width = 0
    for source in sources:
        if source.name not in weights:
            continue
        weight = weights[source.name]
        if isinstance(source, ItemSource):
            bias += weight @ source.values.astype(np.float64)
        elif isinstance(source, PairSource):
            bias -= source.item.astype(np.float64) @ (weight @ source.center.astype(np.float64))
            parts = [source.item] if np.array_equal(source.history, source.item) else [source.history, source.item]
            size = source.item.shape[1]
            read = slice(width, width + size)
            width += size * len(parts)
            coordinates += parts
            maps.append((read, slice(width - size, width), weight))
    mean_map, last_map = np.zeros((2, width, width))
    for read, write, (of_mean, of_last) in maps:
        size = read.stop - read.start
        mean_map[read, write], last_map[read, write] = of_mean * np.eye(size), of_last * np.eye(size)
    arrays = (np.concatenate(coordinates, axis=1), bias, mean_map, last_map)
    return Calibrated(backbone, *(torch.from_numpy(array.astype(np.float32)) for array in arrays))
