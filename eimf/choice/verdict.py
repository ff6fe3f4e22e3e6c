"""What a source adds to others: a paired difference over people, and what it says in words.

Shapes: C cases.
"""

from dataclasses import dataclass, replace
from typing import Literal

from eimf.choice.design import Judged
from eimf.statistics import LEVEL, Difference, paired_difference

RELEVANT_NDCG, RELEVANT_NATS = 0.02, 0.01
"""A smaller gain is nothing, whatever its p: of NDCG@10 as a share of it; in nats, which is 1 % of the probability of
the item that was chosen."""

Verdict = Literal["adds", "adds nothing", "not shown"]


@dataclass(frozen=True)
class Comparison:
    """What a source adds to all others: in nats a person and in NDCG@10; what the best of its controls adds, and what
    the source has over that (None without a control)."""

    nats: Difference
    ndcg: Difference
    control: Difference | None
    over_control: Difference | None

    def adds(self, level: float = LEVEL) -> bool:
        """Whether the source adds more than nothing, and more than its control, in nats, each with a p below
        `level`."""
        return all(gain is None or (gain.value > 0 and gain.p < level) for gain in (self.nats, self.over_control))

    def verdict(self, level: float = LEVEL) -> Verdict:
        """`adds`: as above. `adds nothing`: not so, and with 95 % confidence less than a relevant gain in NDCG@10, or
        in nats, or in nats over the control. `not shown`: there are too few people to say either."""
        if self.adds(level):
            return "adds"
        gains = [gain for gain in (self.nats, self.over_control) if gain is not None]
        is_small = any(gain.interval()[1] < RELEVANT_NATS for gain in gains)
        is_small |= self.ndcg.interval()[1] < RELEVANT_NDCG * self.ndcg.base
        return "adds nothing" if is_small else "not shown"


def compare(without: Judged, with_source: Judged, with_control: Judged | None = None) -> Comparison:
    """From how well the same choices are predicted without the source, with it, and with its best control."""
    return Comparison(
        nats=nats_between(without, with_source),
        ndcg=paired_difference(without.ndcg, with_source.ndcg),
        control=None if with_control is None else nats_between(without, with_control),
        over_control=None if with_control is None else nats_between(with_control, with_source),
    )


def nats_between(before: Judged, after: Judged) -> Difference:
    """What `after` has over `before` in nats. A share of a log-probability means nothing, so there is no baseline."""
    return replace(paired_difference(before.nats, after.nats), base=0.0)
