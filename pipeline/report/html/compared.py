"""Paired comparisons of the trainings of a study, and what each says in words."""

from collections.abc import Iterable

import numpy as np

from eimf.statistics import Difference
from pipeline.report.differences import Comparison, Differences, corrected, seeds_difference
from pipeline.report.html.document import verdict
from pipeline.report.html.runs import Study
from pipeline.report.markup import Markup
from pipeline.report.text import format_share

_KINDS = {"better": "good", "worse": "bad"}


def compare_all(study: Study) -> Differences:
    """Every pair of the study that has a seed in common, p adjusted by Holm for all comparisons with a baseline."""
    found: Differences = {}
    for dataset in study.names:
        groups = study.groups(dataset)
        for backbone in dict.fromkeys(backbone for backbone, _ in groups):
            for variant, base in study.pairs:
                runs, before = groups.get((backbone, variant), {}), groups.get((backbone, base), {})
                if runs.keys() & before.keys():
                    values = ({seed: run.ndcg for seed, run in part.items()} for part in (before, runs))
                    found[Comparison(dataset, backbone, variant, base)] = seeds_difference(*values)
    return corrected(found)


def against_controls(study: Study, differences: Differences) -> Differences:
    """Trainings with the LLM's interests minus the same with a control; if a plan has no such comparison, what it
    compares a control with."""
    found = {key: of for key, of in differences.items() if study.is_control(key.base)}
    real = {key: of for key, of in found.items() if not study.is_control(key.variant)}
    return real or found


def told(of: Difference | str | None) -> Markup | str:
    """The word as it is shown, with what it needs to be read rightly."""
    if not isinstance(of, Difference):
        return of or ""
    said = of.verdict
    if of.significant and of.every_seed_agrees is False:
        return verdict(f"{said}, not every seed", _KINDS.get(said, "open"))
    return verdict(said, _KINDS.get(said, "open"))


def detectable(of: Difference) -> str:
    """The smallest gain that the test would have seen, if it saw none."""
    share = of.relative_detectable
    return "" if of.significant or of.identical or not np.isfinite(share) else format_share(share)


def signed(value: float) -> str:
    """With four decimals and its sign, which zero does not have."""
    text = f"{value:+.4f}"
    return text[1:] if float(text) == 0 else text


def p_value(p: float) -> str:
    """With two digits, and four decimals at most."""
    if p < 0.0001:
        return "< 0.0001"
    return f"{p:.4f}" if p < 0.001 else f"{p:.2g}"


def counted(differences: Iterable[Difference | str]) -> dict[str, int]:
    """How many say what."""
    counts: dict[str, int] = {"better": 0, "worse": 0, "not shown": 0, "identical": 0}
    for of in differences:
        if isinstance(of, Difference):
            counts[of.verdict] += 1
    return counts
