"""What a source adds to others: a paired difference over people, and what it says in words.

Shapes: C cases.
"""

from dataclasses import dataclass
from typing import Literal

from eimf.choice.design import Judged
from eimf.statistics import LEVEL, Difference, paired_difference

RELEVANT = 0.02
"""A gain in NDCG@10 below this part of it is nothing, whatever its p."""

Verdict = Literal["adds", "adds nothing", "not shown"]


@dataclass(frozen=True)
class Comparison:
    """What a source adds to all others: in nats a person and in NDCG@10; what its shuffled control adds, and what the
    source has over that (None without a control)."""

    nats: Difference
    ndcg: Difference
    control: Difference | None
    over_control: Difference | None

    def adds(self, level: float = LEVEL) -> bool:
        """Whether the source adds more than nothing, and more than its control, in nats, each with a p below
        `level`."""
        return all(gain is None or (gain.value > 0 and gain.p < level) for gain in (self.nats, self.over_control))

    def verdict(self, level: float = LEVEL) -> Verdict:
        """`adds`: as above. `adds nothing`: not so, and with 95 % confidence less than RELEVANT of NDCG@10. `not
        shown`: there are too few people to say either."""
        if self.adds(level):
            return "adds"
        return "adds nothing" if self.ndcg.interval()[1] < RELEVANT * self.ndcg.base else "not shown"


def compare(without: Judged, with_source: Judged, with_control: Judged | None = None) -> Comparison:
    """From how well the same choices are predicted without the source, with it, and with its control."""
    return Comparison(
        nats=paired_difference(without.nats, with_source.nats),
        ndcg=paired_difference(without.ndcg, with_source.ndcg),
        control=None if with_control is None else paired_difference(without.nats, with_control.nats),
        over_control=None if with_control is None else paired_difference(with_control.nats, with_source.nats),
    )
