"""What a catalogue's items have in common, by name: decades, brands, categories, and what their titles say.

A closed vocabulary (`prompt.vocabulary`) offers the LLM phrases made of these. Everything comes from the item table's
title and text: `eimf.data.prepare` joined the text columns by ` | `, so a part of the text is a year, a brand, a
category, or a path of categories.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eimf.esim.title_words import TitlePhrases

DECADE, BRAND, CATEGORY, KIND, SERIES = "decade", "brand", "category", "kind", "series"
KINDS = (DECADE, BRAND, CATEGORY, KIND, SERIES)
_YEAR = re.compile(r"(?:18[89]|19\d|20[0-4])\d")
_YEAR_IN_TITLE = re.compile(r"[(\[](?P<year>(?:18[89]|19\d|20[0-4])\d)[)\]]")
_PART, _LEVEL = " | ", re.compile(r"\s+>\s+")
_MOST_CHARS, _FEWEST_ITEMS = 40, 2
_NO_NAME = {
    "unknown",
    "none",
    "nan",
    "null",
    "n/a",
    "other",
    "others",
    "misc",
    "untitled item",
    "general",
    "generic",
    "compatible",
}


@dataclass(frozen=True, order=True)
class Trait:
    """Something that items share: its kind, and its name in lower case."""

    kind: str
    name: str


@dataclass(frozen=True)
class Catalogue:
    """The traits of every item, and how common they are in training. `shown` is a trait's name as items write it."""

    traits: Sequence[frozenset[Trait]]
    weight: np.ndarray
    shown: dict[Trait, str]

    @cached_property
    def rows(self) -> dict[Trait, np.ndarray]:
        """The rows (item_idx - 1) of the items with each trait, ascending."""
        rows = defaultdict(list)
        for row, traits in enumerate(self.traits):
            for trait in traits:
                rows[trait].append(row)
        return {trait: np.asarray(of_trait) for trait, of_trait in rows.items()}

    def rate(self, traits: Iterable[Trait]) -> float:
        """Share of the training events whose items have all of the traits."""
        first, *others = sorted(traits, key=lambda trait: len(self.rows[trait]))
        rows = self.rows[first]
        for other in others:
            rows = rows[np.isin(rows, self.rows[other], assume_unique=True)]
        return float(self.weight[rows].sum() / self.weight.sum())


def read_catalogue(
    titles: Sequence[str | None], texts: Sequence[str], item_idx: np.ndarray, offsets: np.ndarray
) -> Catalogue:
    """The catalogue of items 1..N with these titles and texts. `item_idx` [E] and `offsets` [U + 1] are the users'
    training events: they tell how common a trait is, and which words of titles people follow."""
    weight = np.bincount(item_idx, minlength=len(texts) + 1)[1:] + 0.5
    tags = [_tags(title, text) for title, text in zip(titles, texts, strict=True)]
    whole = Counter(tag.casefold() for item in tags for tag in set(item))
    tags = [[word for tag in item for word in _split_list(tag, whole)] for item in tags]
    brands = _brands(titles, tags)
    shown: dict[Trait, Counter[str]] = defaultdict(Counter)
    traits: list[set[Trait]] = []
    names: list[str] = []
    for title, item in zip(titles, tags, strict=True):
        found = {trait: spelling for trait, spelling in _of_tags(item, brands)}
        brand = next((trait.name for trait in found if trait.kind == BRAND), None) or _leading_brand(title, brands)
        if brand and not any(trait.kind == BRAND for trait in found):
            found[Trait(BRAND, brand)] = str(title)[: len(brand)]
        if decade := _decade(title, item):
            found[Trait(DECADE, decade)] = decade
        for trait, spelling in found.items():
            shown[trait][spelling] += 1
        traits.append(set(found))
        names.append(_without(title, brand))
    phrases = TitlePhrases(names, item_idx, offsets)
    for item, kinds, series in zip(traits, phrases.kinds, phrases.series, strict=True):
        for phrase in kinds:
            item.add(trait := Trait(KIND, " ".join(phrase)))
            shown[trait] = Counter([phrases.kind(phrase)])
        for phrase in series:
            item.add(trait := Trait(SERIES, " ".join(phrase)))
            shown[trait] = Counter([phrases.name(phrase)])
    count = Counter(trait for item in traits for trait in item)
    kept = {trait for trait, number in count.items() if number >= _FEWEST_ITEMS}
    return Catalogue(
        [frozenset(item & kept) for item in traits], weight, {trait: _usual(shown[trait]) for trait in kept}
    )


def _usual(spellings: Counter[str]) -> str:
    return min(spellings, key=lambda spelling: (-spellings[spelling], spelling))


def _tags(title: str | None, text: str) -> list[str]:
    """The parts of a text that may name a brand or a category: short ones, without the title."""
    if title and text.startswith(title):
        text = text[len(title) :]
    levels = [level.strip(" ®™") for part in text.split(_PART) for level in _LEVEL.split(part)]
    return [level for level in levels if 1 < len(level) <= _MOST_CHARS and level.casefold() not in _NO_NAME]


def _split_list(tag: str, whole: Counter[str]) -> list[str]:
    """`Comedy Romance` as two tags, if both are tags of their own and it is none that stands out as one."""
    words = tag.split()
    if len(words) > 1 and all(whole[word.casefold()] for word in words):
        return words
    return [tag]


def _of_tags(tags: Sequence[str], brands: set[str]) -> Iterable[tuple[Trait, str]]:
    for tag in tags:
        name = tag.casefold()
        if any(sign.isalpha() for sign in name):
            yield (Trait(BRAND, name), tag) if name in brands else (Trait(CATEGORY, name), tag.lower())


def _brands(titles: Sequence[str | None], tags: Sequence[Sequence[str]]) -> set[str]:
    """The tags that most of their items' titles begin with, or with whose first word."""
    begins, count = Counter[str](), Counter[str]()
    for title, item in zip(titles, tags, strict=True):
        start = (title or "").casefold().split()[:3]
        for name in {tag.casefold() for tag in item}:
            count[name] += 1
            begins[name] += _begins(title, name) or name.split()[0] in start or name.replace(" ", "") in start
    return {name for name, number in begins.items() if number >= _FEWEST_ITEMS and 2 * number > count[name]}


def _begins(title: str | None, name: str) -> bool:
    start = (title or "").casefold()
    return start.startswith(name) and not start[len(name) : len(name) + 1].isalnum()


def _leading_brand(title: str | None, brands: set[str]) -> str | None:
    words = (title or "").casefold().split()[:4]
    starts = (" ".join(words[:number]).strip(",:®™") for number in range(len(words), 0, -1))
    return next((start for start in starts if start in brands and _begins(title, start)), None)


def _without(title: str | None, brand: str | None) -> str:
    """The title without its brand at the start and its year."""
    title = _YEAR_IN_TITLE.sub(" ", title or "")
    return title[len(brand) :] if brand and _begins(title, brand) else title


def _decade(title: str | None, tags: Sequence[str]) -> str | None:
    years = [match["year"] for match in _YEAR_IN_TITLE.finditer(title or "")]
    years += [tag for tag in tags if _YEAR.fullmatch(tag)]
    return f"{years[-1][:3]}0s" if years else None
