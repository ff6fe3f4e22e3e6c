"""Phrases offered to the LLM for one history (`prompt.vocabulary="closed"`): each names something that several of the
titles have in common and that is rarer elsewhere, and comes with these titles as its evidence."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any

from eimf.esim.vocabulary import BRAND, CATEGORY, DECADE, KIND, SERIES, Catalogue, Trait

_ORDER = (DECADE, BRAND, CATEGORY, KIND, SERIES)
_PAIRS = {(DECADE, CATEGORY), (CATEGORY, CATEGORY), (BRAND, CATEGORY), (BRAND, KIND)}
_NARROWER = 0.8
"""A combination is offered only if it is at most this share as common as each of its parts."""
_MOST_COMMON, _FEWEST_LIFT = 0.3, 1.7
"""A phrase for more than this share of all events is offered only if the history has it so much more often."""
_ALONE, _EACH_TRAIT = 0.3, 0.25
"""Weight of a phrase that only one title carries; nats that each further trait costs."""
_MOST_ITEMS = 8
"""Most titles that a reply repeats for a phrase, the most recent ones."""
_ALIKE = 2
"""Most phrases for the same titles."""


@dataclass(frozen=True)
class Offer:
    """A phrase, and the numbers (from 1, ascending) of all titles of the prompt that carry it. The reply takes at most
    one phrase of each `slot`: the phrases of a slot name much the same titles."""

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
    """At most `most` offers for the items in these `rows` of the catalogue, which the prompt numbers from 1, in at most
    `slots` slots; the first slot speaks for most titles. Phrases have at most `chars` characters.

    `wording` has a pattern for each kind of trait that may be named alone: `{} movies`.
    """
    candidates = sorted(_candidates(rows, catalogue, wording, chars), key=lambda one: (-one.score, one.phrase))
    leaders = _leaders(candidates, slots)
    chosen: list[tuple[int, _Candidate]] = []
    for candidate in candidates:
        alike = sum(one.items == candidate.items for _, one in chosen)
        if len(chosen) < most and alike < _ALIKE and not any(one.phrase == candidate.phrase for _, one in chosen):
            chosen.append((_nearest(candidate, leaders), candidate))
    return [Offer(one.phrase, tuple(sorted(one.items)), slot) for slot, one in sorted(chosen, key=lambda each: each[0])]


def offers_schema(offers: Sequence[Offer], min_interests: int) -> dict[str, Any]:
    """JSON schema of a reply that takes its interests from these offers, the first from slot 0 and so on."""
    slots = [list(group) for _, group in groupby(offers, key=lambda offer: offer.slot)]
    entries = [{"anyOf": [_entry(offer) for offer in slot]} for slot in slots]
    return {"type": "array", **_exactly(entries), "minItems": min(min_interests, len(slots))}


def _entry(offer: Offer) -> dict[str, Any]:
    numbers = {"type": "array", **_exactly([{"const": number} for number in offer.items[-_MOST_ITEMS:]])}
    return {
        "type": "object",
        "properties": {"interest": {"const": offer.interest}, "items": numbers},
        "required": ["interest", "items"],
        "additionalProperties": False,
    }


def _exactly(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"prefixItems": entries, "items": False, "minItems": len(entries), "maxItems": len(entries)}


def _candidates(
    rows: Sequence[int], catalogue: Catalogue, wording: Mapping[str, str], chars: int
) -> Iterator[_Candidate]:
    numbers: dict[Trait, set[int]] = {}
    for number, row in enumerate(rows, start=1):
        for trait in catalogue.traits[row]:
            numbers.setdefault(trait, set()).add(number)
    for traits in _combinations(numbers):
        items = frozenset.intersection(*(frozenset(numbers[trait]) for trait in traits))
        phrase = _phrase(traits, catalogue, wording)
        if not items or phrase is None or not 3 <= len(phrase) <= chars:
            continue
        rate = catalogue.rate(traits)
        if len(traits) > 1 and any(rate > _NARROWER * catalogue.rate([trait]) for trait in traits):
            continue
        if rate > _MOST_COMMON and len(items) < _FEWEST_LIFT * rate * len(rows):
            continue
        score = _score(len(items), len(rows), rate) * (1 if len(items) > 1 else _ALONE)
        yield _Candidate(traits, phrase, items, score - _EACH_TRAIT * (len(traits) - 1))


def _combinations(traits: Iterable[Trait]) -> Iterator[tuple[Trait, ...]]:
    ordered = sorted(traits, key=lambda trait: (_ORDER.index(trait.kind), trait.name))
    yield from ((trait,) for trait in ordered)
    pairs = {pair for pair in combinations(ordered, 2) if (pair[0].kind, pair[1].kind) in _PAIRS}
    yield from sorted(pairs)
    for decade in (trait for trait in ordered if trait.kind == DECADE):
        yield from sorted((decade, *pair) for pair in pairs if pair[0].kind == pair[1].kind)


def _score(number: int, total: int, rate: float) -> float:
    """Log-likelihood ratio of a phrase with `number` of `total` titles against its share `rate` of the catalogue."""
    share, rate = number / total, min(max(rate, 1e-6), 1 - 1e-6)
    if share <= rate:
        return 0.0
    rest = 0.0 if number == total else (total - number) * math.log((1 - share) / (1 - rate))
    return number * math.log(share / rate) + rest


def _leaders(candidates: Sequence[_Candidate], slots: int) -> list[_Candidate]:
    """The best candidate of each slot: high scores, and titles that the slots before do not have."""
    leaders: list[_Candidate] = []
    while len(leaders) < slots:
        covered = frozenset().union(*(one.items for one in leaders))
        new = [(one.score * len(one.items - covered) / len(one.items), one) for one in candidates]
        best = max(new, key=lambda each: each[0], default=(0.0, None))
        if best[1] is None or best[0] <= 0:
            break
        leaders.append(best[1])
    return leaders


def _nearest(candidate: _Candidate, leaders: Sequence[_Candidate]) -> int:
    """The slot whose leader has the most titles in common; the last one if none has any."""
    overlap = [len(candidate.items & one.items) / len(candidate.items | one.items) for one in leaders]
    return max(range(len(leaders)), key=lambda slot: (overlap[slot], slot if not any(overlap) else -slot))


def _phrase(traits: Sequence[Trait], catalogue: Catalogue, wording: Mapping[str, str]) -> str | None:
    """The traits as a phrase, a rarer category before a more common one; None if such traits are not named."""
    pattern = wording.get(traits[-1].kind)
    if pattern is None:
        return None
    ordered = sorted(traits, key=lambda trait: (_ORDER.index(trait.kind), len(catalogue.rows[trait]), trait.name))
    ordered.sort(key=lambda trait: trait.kind == CATEGORY and not trait.name.endswith("'s"))
    return pattern.replace("{}", " ".join(catalogue.shown[trait] for trait in ordered))
