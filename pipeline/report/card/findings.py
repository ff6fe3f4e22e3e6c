"""What is worth knowing before a training: the findings of a card that change what to do."""

from collections.abc import Iterator

from eimf import schema
from eimf.data.card.drift import TRAINING, Part
from eimf.data.card.popularity import FEW
from eimf.data.card.sheet import DataCard
from pipeline.report.card.described import percent

_FALLS, _ALIKE = 0.5, 2.0
"""Popularity drifts if the most popular items of training have less than half of their share in the test. Histories
begin alike if they have more than twice their share among first events."""
_MANY_TIES, _MANY_COLD, _MANY_REPEATED, _MANY_FEW, _FEW_TITLES = 0.05, 0.01, 0.01, 0.2, 0.9


def findings(card: DataCard) -> Iterator[str]:
    """One sentence or two each; none for a dataset without surprises."""
    yield from _popularity(card)
    if card.tied_share is not None and card.tied_share > _MANY_TIES:
        yield (
            f"{percent(card.tied_share)} of neighboring events are tied in order, so much of the order says nothing: "
            "compare dataset.ties file and shuffled."
        )
    yield from _targets(card)
    if card.popularity.few_events > _MANY_FEW * card.items:
        share = percent(card.popularity.few_events / card.items)
        yield f"{share} of the items have fewer than {FEW} events: little can be learned about them from ids alone."
    if card.texts.titled < _FEW_TITLES * card.texts.items:
        share = percent(card.texts.titled / card.texts.items)
        who = f"Only {share} of the items have" if card.texts.titled else "No item has"
        whose = "the others'" if card.texts.titled else "their"
        yield f"{who} a title: the LLM reads {whose} metadata instead, if there are any."


def _popularity(card: DataCard) -> Iterator[str]:
    parts = {part.name: part for part in card.drift.splits}
    training, first, test = parts[TRAINING], card.drift.splits[0], parts.get("test")
    if _share(test) < _FALLS * _share(training) and test is not None and test.events:
        yield (
            f"Popularity drifts: the 10 most popular items of training have {percent(training.top_10)} of the training "
            f"events and {percent(test.top_10)} of the test. Popularity over all of training is a weak baseline here."
        )
    if _share(first) > _ALIKE * _share(training):
        yield (
            f"Histories begin alike: the 10 most popular items of training have {percent(first.top_10)} of the first "
            f"events and {percent(training.top_10)} of all in training."
        )


def _share(part: Part | None) -> float:
    return 0.0 if part is None or part.top_10 is None else part.top_10


def _targets(card: DataCard) -> Iterator[str]:
    for cases in card.cases:
        if cases.split == schema.TEST and cases.cold > _MANY_COLD:
            yield f"{percent(cases.cold)} of the test targets are cold: no training event has these items."
        if cases.split == schema.TEST and cases.repeated > _MANY_REPEATED:
            yield (
                f"{percent(cases.repeated)} of the test targets are in the history of their case: they can only be hit "
                "with evaluate.keep_seen=true."
            )
