"""The answer of a report: what is best on each dataset, how sure that is, and whether the LLM's interests add to it."""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from eimf.statistics import Difference
from pipeline.report.card.described import count
from pipeline.report.differences import Comparison, Differences
from pipeline.report.html.compared import against_controls, counted, p_value, signed, told
from pipeline.report.html.results import mean_of
from pipeline.report.html.runs import NDCG, Study
from pipeline.report.html.signal import SAID
from pipeline.report.markup import Markup, join, tag

_NOTE = (
    "Better or worse: p below .05, corrected for all comparisons with one baseline. Not shown: the data do not tell "
    "the two apart."
)
_TO_BASE = {"better": "than", "worse": "than", "not shown": "to differ from", "identical": "to"}


def in_short(study: Study, differences: Differences, checked: Mapping[str, str]) -> Markup:
    """In some sentences. `checked`: the verdict of the signal check on the interests, by dataset."""
    lines = [_dataset(study, dataset, differences) for dataset in study.names]
    lines += _llm(study, differences, checked)
    return join(tag("ul", *lines), *([tag("p", _NOTE, class_="note")] if differences else []))


def _dataset(study: Study, dataset: str, differences: Differences) -> Markup:
    """The best model, its gain, and what the comparisons with each baseline say that is no control."""
    groups = study.groups(dataset)
    best = max(groups, key=lambda key: mean_of(groups[key], str(NDCG)).value)
    value = mean_of(groups[best], str(NDCG)).value
    line = [tag("b", tag("bdi", dataset)), ": best is ", tag("bdi", " ".join(best)), f", NDCG@10 {value:.4f}"]
    own = {key: of for key, of in differences.items() if key.dataset == dataset and not study.is_control(key.base)}
    gains = [_gain(key, of) for key, of in own.items() if (key.backbone, key.variant) == best]
    baselines = {(key.backbone, key.base) for key in own}
    line += next(iter(gains), [", which is a baseline" if best in baselines else ", compared with nothing"])
    return tag("li", *line, ".", *_counts(own))


def _gain(key: Comparison, of: Difference | str) -> list[str]:
    """How the best model compares with its baseline."""
    if isinstance(of, str):
        return [", ", of]
    size = signed(of.value)
    if np.isfinite(of.relative):
        low, high = (100 * bound / of.base for bound in of.interval())
        size = f"{100 * of.relative:+.1f} %, 95 % interval {low:+.1f} to {high:+.1f} %"
    p = p_value(of.p)
    p = f"p {p}" if p.startswith("<") else f"p = {p}"
    return [", ", told(of), f" {_TO_BASE[of.verdict]} ", tag("bdi", key.base), f" ({size}, {p})"]


def _counts(own: Differences) -> list[Markup]:
    """How many comparisons with each baseline say what."""
    said = []
    for base in dict.fromkeys(key.base for key in own):
        of_base = [of for key, of in own.items() if key.base == base]
        if len(of_base) > 1:
            words = _words(counted(of_base))
            said.append(tag("li", f"Of {count(len(of_base))} models against ", tag("bdi", base), f": {words}."))
    return [tag("ul", *said)] if said else []


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "none could be compared"


def _llm(study: Study, differences: Differences, checked: Mapping[str, str]) -> Iterator[Markup]:
    """What controls and the signal check say of the interests."""
    said: list[Markup | str] = []
    if controlled := against_controls(study, differences):
        said.append(
            f"Of {count(len(controlled))} comparisons with the same training that had a control in their place "
            f"(interests of others, random, titles): {_words(counted(controlled.values()))}."
        )
    if checked:
        words = ", ".join(f"{SAID[word]} on {number}" for word, number in Counter(checked.values()).items())
        said.append(
            f"By the signal check they {words} of {len(checked)} {'datasets' if len(checked) > 1 else 'dataset'}."
        )
    if said:
        yield tag("li", tag("b", "The LLM's interests"), ":", tag("ul", *(tag("li", line) for line in said)))
