"""Phrases offered to the LLM for one history (`prompt.vocabulary="closed"`): each names a common part of some of
the titles and comes with all titles that have it, so an interest's evidence is true by construction (our decision).

A phrase is one to three traits of the catalogue (`1990s crime thriller movies`, `Avery labels`). Its score is the
log-likelihood ratio of its share of the history against its share of all training events: a trait that everybody has
says nothing, and a trait of a single title says little.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any

from eimf.esim.vocabulary import BRAND, CATEGORY, DECADE, KIND, KINDS, LEVEL, Catalogue, Trait

_PAIRS = {(DECADE, CATEGORY), (CATEGORY, CATEGORY), (BRAND, CATEGORY), (BRAND, LEVEL), (BRAND, KIND)}
_NARROWER = 0.8
"""A combination is offered only if it is at most this share as common as each of its parts."""
_COMMON, _LIFT = 0.3, 1.7
"""A phrase of more than this share of all events is offered only if the history has it this much more often."""
_ALONE, _EACH_TRAIT = 0.3, 0.25
"""Weight of a phrase that only one title carries; nats that each further trait costs."""
_ALIKE = 2
"""Most phrases for exactly the same titles."""
_MOST_OVERLAP = 0.5
_MOST_ITEMS = 8
"""Most titles that a reply repeats for a phrase, the most recent ones."""
_FEWEST_CHARS = 3


@dataclass(frozen=True)
class Offer:
    """A phrase, and the numbers (from 1, ascending) of all titles of the prompt that carry it. A reply takes at most
    one phrase of each `slot`, whose phrases stand for much the same titles."""

    interest: str
    items: tuple[int, ...]
    slot: int


@dataclass(frozen=True)
class _Candidate:
    traits: tuple[Trait, ...]
    phrase: str
    items: frozenset[int]
    score: float


def offers_for(
    rows: Sequence[int], catalogue: Catalogue, wording: Mapping[str, str], *, most: int, slots: int, chars: int
) -> list[Offer]:
    """At most `most` offers in at most `slots` slots, in their order, for the items in these `rows` of the catalogue,
    which the prompt numbers from 1. A phrase has at most `chars` characters.

    `wording` has a pattern (`{} movies`) for each kind of trait that may be named alone or last; levels have that of
    categories. The result depends on nothing else, and is empty if the items have no trait that another item has too. A
    brand is not offered alone if its titles are of one kind: `Avery labels` tells more than `Avery products`.
    """
    every = list(_candidates(rows, catalogue, wording, chars))
    branded = {(one.traits[0], one.items) for one in every if one.traits[0].kind == BRAND and len(one.traits) > 1}
    telling = [one for one in every if (one.traits[0], one.items) not in branded or len(one.traits) > 1]
    candidates = sorted(telling, key=lambda candidate: (-candidate.score, candidate.phrase))
    leaders = _leaders(candidates, slots)
    chosen: dict[str, _Candidate] = {}
    for candidate in [*leaders, *candidates]:
        alike = sum(one.items == candidate.items for one in chosen.values())
        if len(chosen) < most and alike < _ALIKE and leaders:
            chosen.setdefault(candidate.phrase, candidate)
    offers = [Offer(one.phrase, tuple(sorted(one.items)), _slot(one, leaders)) for one in chosen.values()]
    return sorted(offers, key=lambda offer: offer.slot)


def offers_schema(offers: Sequence[Offer], min_interests: int) -> dict[str, Any]:
    """JSON schema of a reply that takes one of these offers from each slot, in their order, and may leave out those at
    the end if `min_interests` allows."""
    slots = [list(group) for _, group in groupby(offers, key=lambda offer: offer.slot)]
    entries = [{"anyOf": [_entry(offer) for offer in slot]} for slot in slots]
    return {**_exactly(entries), "minItems": min(min_interests, len(slots))}


def _entry(offer: Offer) -> dict[str, Any]:
    numbers = _exactly([{"const": number} for number in offer.items[-_MOST_ITEMS:]])
    return {
        "type": "object",
        "properties": {"interest": {"const": offer.interest}, "items": numbers},
        "required": ["interest", "items"],
        "additionalProperties": False,
    }


def _exactly(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "array", "prefixItems": entries, "items": False, "minItems": len(entries), "maxItems": len(entries)}


def _candidates(
    rows: Sequence[int], catalogue: Catalogue, wording: Mapping[str, str], chars: int
) -> Iterator[_Candidate]:
    numbers: dict[Trait, set[int]] = {}
    for number, row in enumerate(rows, start=1):
        for trait in catalogue.traits[row]:
            numbers.setdefault(trait, set()).add(number)
    for traits in _combinations(numbers):
        items = frozenset(set.intersection(*(numbers[trait] for trait in traits)))
        phrase = _phrase(traits, catalogue, wording)
        if items and phrase is not None and _FEWEST_CHARS <= len(phrase) <= chars:
            rate = catalogue.rate(traits)
            if _is_narrow(traits, rate, catalogue) and (rate <= _COMMON or len(items) >= _LIFT * rate * len(rows)):
                weight = 1 if len(items) > 1 else _ALONE
                score = weight * _log_likelihood_ratio(len(items), len(rows), rate) - _EACH_TRAIT * (len(traits) - 1)
                if score > 0:
                    yield _Candidate(traits, phrase, items, score)


def _combinations(traits: Iterable[Trait]) -> Iterator[tuple[Trait, ...]]:
    """Single traits, pairs that make a phrase, and a decade with two categories."""
    ordered = sorted(traits, key=lambda trait: (KINDS.index(trait.kind), trait.name))
    pairs = [pair for pair in combinations(ordered, 2) if (pair[0].kind, pair[1].kind) in _PAIRS]
    yield from ((trait,) for trait in ordered)
    yield from pairs
    for decade in (trait for trait in ordered if trait.kind == DECADE):
        yield from ((decade, *pair) for pair in pairs if pair[0].kind == pair[1].kind == CATEGORY)


def _is_narrow(traits: Sequence[Trait], rate: float, catalogue: Catalogue) -> bool:
    return len(traits) == 1 or all(rate <= _NARROWER * catalogue.rate([trait]) for trait in traits)


def _log_likelihood_ratio(number: int, total: int, rate: float) -> float:
    """Of `number` of `total` titles against the `rate` of all events, in nats; 0 if they are not more than expected."""
    share, rate = number / total, min(max(rate, 1e-6), 1 - 1e-6)
    if share <= rate:
        return 0.0
    rest = 0.0 if number == total else (total - number) * math.log((1 - share) / (1 - rate))
    return number * math.log(share / rate) + rest


def _leaders(candidates: Sequence[_Candidate], slots: int) -> list[_Candidate]:
    """The best candidate of each slot: a high score, and titles that those before it do not have. Once every title has
    one, a high score and few titles in common with each of those before it, at most half."""
    leaders: list[_Candidate] = []
    for gain_of in (_uncovered, _apart):
        while len(leaders) < slots:
            scored = [(one.score * gain_of(one, leaders), one) for one in candidates]
            gain, best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
            if best is None or gain <= 0:
                break
            leaders.append(best)
    return leaders


def _uncovered(candidate: _Candidate, leaders: Sequence[_Candidate]) -> float:
    """The share of the candidate's titles that no leader has."""
    covered = frozenset[int]().union(*(leader.items for leader in leaders))
    return len(candidate.items - covered) / len(candidate.items)


def _apart(candidate: _Candidate, leaders: Sequence[_Candidate]) -> float:
    """How far the candidate is from the nearest leader; 0 if they have more than half of their titles in common."""
    overlap = max((_overlap(candidate, leader) for leader in leaders), default=0.0)
    return 1 - overlap if overlap <= _MOST_OVERLAP else 0.0


def _overlap(one: _Candidate, other: _Candidate) -> float:
    return len(one.items & other.items) / len(one.items | other.items)


def _slot(candidate: _Candidate, leaders: Sequence[_Candidate]) -> int:
    """That of the leader with the most titles in common; the last one if there is none."""
    overlap = [_overlap(candidate, leader) for leader in leaders]
    return overlap.index(max(overlap)) if any(overlap) else len(leaders) - 1


def _phrase(traits: Sequence[Trait], catalogue: Catalogue, wording: Mapping[str, str]) -> str | None:
    """The traits in words, a rarer category before a more common one (`crime drama`) and a possessive one before both;
    None if such traits are not named."""
    pattern = wording.get(CATEGORY if traits[-1].kind == LEVEL else traits[-1].kind)
    if pattern is None:
        return None
    words = [
        (KINDS.index(trait.kind), not trait.name.endswith("'s"), len(catalogue.rows[trait]), catalogue.spelling[trait])
        for trait in traits
    ]
    return pattern.replace("{}", " ".join(word[-1] for word in sorted(words)))
