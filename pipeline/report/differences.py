"""Paired comparisons of trainings, with words where there is no test, and the correction of a family of them."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from eimf.statistics import Difference, correct, difference_over_seeds, paired_difference

_FEW = ("no user", "one user")


@dataclass(frozen=True)
class Comparison:
    """A variant minus its baseline, of one dataset and backbone; `part` is the slice, if it is one of a slice."""

    dataset: str
    backbone: str
    variant: str
    base: str
    part: str = ""

    @property
    def model(self) -> str:
        return f"{self.backbone} {self.variant}"


Differences = dict[Comparison, Difference | str]
"""The difference of each comparison, or in words why there is none."""


def difference(base: ArrayLike, other: ArrayLike) -> Difference | str:
    """`other` - `base`, values [U] of the same users, or in words why there is no test."""
    users = len(np.asarray(base))
    return _FEW[users] if users < len(_FEW) else paired_difference(base, other)


def seeds_difference(base: Mapping[int, np.ndarray], other: Mapping[int, np.ndarray]) -> Difference | str:
    """`other` - `base`, values [C] of the same cases by seed, over the seeds that both have, of which there is at least
    one; or in words why there is no test."""
    sizes = sorted({len(values[seed]) for seed in base.keys() & other.keys() for values in (base, other)})
    if len(sizes) > 1:
        return f"not the same test cases: {sizes[0]:,} and {sizes[-1]:,}"
    return _FEW[sizes[0]] if sizes[0] < len(_FEW) else difference_over_seeds(base, other)


def corrected(
    differences: Differences, family_of: Callable[[Comparison], Hashable] = lambda comparison: comparison.base
) -> Differences:
    """The same, p adjusted by Holm within each family: by default, all comparisons with one baseline."""
    families: dict[Hashable, dict[Comparison, Difference]] = {}
    for comparison, tested in differences.items():
        if isinstance(tested, Difference):
            families.setdefault(family_of(comparison), {})[comparison] = tested
    result = dict(differences)
    for family in families.values():
        result |= zip(family, correct(list(family.values())), strict=True)
    return result
