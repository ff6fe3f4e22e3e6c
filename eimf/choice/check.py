"""The signal check: what a source adds to everything that is known without it, before any training is spent on it.

A conditional logit over the whole catalogue predicts each validation item from how popular, recent and late the items
are, from what the users of an item had besides, from the items' texts and, if there is one, from the score of a trained
model. A source that is checked, such as the LLM's interests, is added to these. All weights are fitted on one half of
the people and judged on the other. So a source counts only for what the others do not say already. Its shuffled control
has the same form without the meaning: the interests of another cluster, or the vectors of another item. Whatever a
source says of an item to everybody alike is left out, since that is not knowledge of people. Test events are not looked
at. Our decision.

Shapes: C cases, N items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eimf.choice.cases import Choices
from eimf.choice.design import Design, Judged, fit_halves, judge_halves, judge_without
from eimf.choice.sources import Source
from eimf.choice.verdict import Comparison, compare

MAX_SCORES = 1 << 26
"""Scores of all items for all cases: there are as many cases as have so many."""
FREQUENCY_LIMITS = (5, 20, 100)
LENGTH_LIMITS = (5, 10, 50)
"""Ends of the groups of targets by their training events, and of people by their history."""


@dataclass(frozen=True)
class CheckedSource:
    """How well the choices are predicted `without` the source, `with_source`, and with each of its `controls` instead,
    by their names."""

    without: Judged
    with_source: Judged
    controls: dict[str, Judged]

    @property
    def best_control(self) -> Judged | None:
        """The control that predicts best, if there is any."""
        return max(self.controls.values(), key=lambda control: float(control.nats.mean()), default=None)

    @property
    def comparison(self) -> Comparison:
        """What the source adds, and what it has over its best control."""
        return compare(self.without, self.with_source, self.best_control)


def check_sources(
    known: Sequence[Source], asked: Sequence[Source], controls: Mapping[str, Sequence[Source]], choices: Choices
) -> dict[str, CheckedSource]:
    """What each source that is `asked` about adds to all that are `known`, and each known one to the others; `controls`
    are those of a source by its name. All names differ."""
    base = [source.name for source in known]
    design = Design([*known, *asked, *(control for every in controls.values() for control in every)], choices)
    fits = fit_halves(design, base)
    before = judge_halves(design, fits)

    def judged(names: list[str]) -> Judged:
        return judge_halves(design, fit_halves(design, names, [fit.weights for fit in fits]))

    def checked(name: str, others: list[str], without: Judged, with_source: Judged) -> CheckedSource:
        of_controls = {control.name: judged([*others, control.name]) for control in controls.get(name, ())}
        return CheckedSource(without, with_source, of_controls)

    found = {}
    for name, without in zip(base, judge_without(design, fits, base) if len(base) > 1 else [], strict=False):
        found[name] = checked(name, [other for other in base if other != name], without, before)
    for source in asked:
        found[source.name] = checked(source.name, base, before, judged([*base, source.name]))
    return found


def ranges(label: str, values: np.ndarray, limits: Sequence[int]) -> dict[str, np.ndarray]:
    """Groups of cases, [C] bool: by `values` [C] up to each of the `limits`, and above; `label` has a place for the
    range."""
    groups, low = {}, 0
    for high in limits:
        groups[label.format(f"{low} to {high}" if low else f"up to {high}")] = (values >= low) & (values <= high)
        low = high + 1
    groups[label.format(f"{low} or more")] = values >= low
    return groups
