"""The common traits of a catalogue's items, by name: decades, brands, categories, kinds of thing, series.

A closed vocabulary (`prompt.vocabulary`) offers the LLM phrases made of these. All of it comes from the item table's
titles and metadata: `eimf.data.item_text` joined the text columns by ` | `, so a part is a year, a brand, a category,
or a path of categories (`Beauty > Skin Care`). This is our decision, and English in its function words only.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from eimf.esim.title_phrases import title_phrases

DECADE, BRAND, CATEGORY, LEVEL, KIND, SERIES = "decade", "brand", "category", "level", "kind", "series"
KINDS = (DECADE, BRAND, CATEGORY, LEVEL, KIND, SERIES)
"""A level is a category that is part of a path: unlike genres, two of them make no phrase."""
_PART_SEPARATOR, _LEVEL_SEPARATOR = " | ", re.compile(r"\s+>\s+")
_YEAR = re.compile(r"(?:18[89]|19\d|20[0-4])\d")
_YEAR_IN_TITLE = re.compile(rf"[(\[]({_YEAR.pattern})[)\]]")
_MOST_CHARS = 40
"""A longer part of a text is a description."""
_FEWEST_ITEMS = 2
_RARE = 0.01
"""Share of the items."""
_NAMELESS = {"unknown", "none", "nan", "null", "n/a", "other", "misc", "untitled item", "general", "generic"}


@dataclass(frozen=True, order=True)
class Trait:
    """Something that several items have: its kind, one of KINDS, and its name in lower case."""

    kind: str
    name: str


@dataclass(frozen=True)
class Catalogue:
    """The traits of items 1..N, how often they were used in training (`weight` [N]), and how one writes a trait."""

    traits: Sequence[frozenset[Trait]]
    weight: np.ndarray
    spelling: dict[Trait, str]
    _rates: dict[frozenset[Trait], float] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def rows(self) -> dict[Trait, np.ndarray]:
        """The rows (item_idx - 1) of the items with each trait, ascending."""
        rows = defaultdict(list)
        for row, traits in enumerate(self.traits):
            for trait in traits:
                rows[trait].append(row)
        return {trait: np.asarray(rows[trait]) for trait in rows}

    def rate(self, traits: Iterable[Trait]) -> float:
        """Share of the training events whose items have all of the traits."""
        if (together := frozenset(traits)) not in self._rates:
            first, *others = sorted(together, key=lambda trait: (len(self.rows[trait]), trait))
            rows = self.rows[first]
            for other in others:
                rows = rows[np.isin(rows, self.rows[other], assume_unique=True)]
            self._rates[together] = float(self.weight[rows].sum() / self.weight.sum())
        return self._rates[together]


def read_catalogue(
    titles: Sequence[str | None], metadata: Sequence[str | None], item_idx: np.ndarray, offsets: np.ndarray
) -> Catalogue:
    """The catalogue of items 1..N with these titles and metadata. `item_idx` [E] and `offsets` [U + 1] are the users'
    training events: they tell how common a trait is, and which words of titles people follow."""
    names = [title or "" for title in titles]
    tags, levels = _tags(names, [text or "" for text in metadata])
    brands = _brands(names, tags, levels)
    items: list[dict[Trait, str]] = []
    rest: list[str] = []
    for name, item_tags, item_levels in zip(names, tags, levels, strict=True):
        traits = {_of_tag(tag, brands): tag for tag in item_tags if any(letter.isalpha() for letter in tag)}
        traits |= {Trait(LEVEL, level.casefold()): level for level in item_levels}
        brand = next((trait.name for trait in traits if trait.kind == BRAND), None) or _leading_brand(name, brands)
        if brand:
            traits.setdefault(Trait(BRAND, brand), name[: len(brand)])
        if decade := _decade(name, item_tags):
            traits[Trait(DECADE, decade)] = decade
        items.append(traits)
        rest.append(_without(name, brand))
    for item, kinds, series in zip(items, *title_phrases(rest, item_idx, offsets), strict=True):
        item |= {Trait(KIND, name): spelling for name, spelling in kinds.items()}
        item |= {Trait(SERIES, name): spelling for name, spelling in series.items()}
    return _catalogue(items, np.bincount(item_idx, minlength=len(names) + 1)[1:] + 0.5)


def _catalogue(items: Sequence[dict[Trait, str]], weight: np.ndarray) -> Catalogue:
    """Of traits with their spelling in each item: those that several items have, in their most frequent spelling."""
    spellings: dict[Trait, Counter[str]] = defaultdict(Counter)
    for item in items:
        for trait, spelling in item.items():
            spellings[trait][spelling.lower() if trait.kind in (CATEGORY, LEVEL) else spelling] += 1
    usual = {
        trait: min(counts, key=lambda spelling: (-counts[spelling], spelling))
        for trait, counts in spellings.items()
        if counts.total() >= _FEWEST_ITEMS
    }
    return Catalogue([frozenset(item.keys() & usual.keys()) for item in items], weight, usual)


def _tags(titles: Sequence[str], texts: Sequence[str]) -> tuple[list[list[str]], list[list[str]]]:
    """The parts of each text that may name a brand, a category or a year: short ones, without the title; and the levels
    of its paths, which are categories."""
    tags, levels = [], []
    for title, text in zip(titles, texts, strict=True):
        parts = (text[len(title) :] if text.startswith(title) else text).split(_PART_SEPARATOR)
        paths = [_LEVEL_SEPARATOR.split(part) for part in parts]
        tags.append([tag for path in paths if len(path) == 1 if (tag := _name(path[0]))])
        levels.append([level for path in paths if len(path) > 1 for part in path if (level := _name(part))])
    known = {level.casefold() for item in levels for level in item}
    for flat, path in zip(tags, levels, strict=True):  # a path of one level
        path += [tag for tag in flat if tag.casefold() in known]
        flat[:] = [tag for tag in flat if tag.casefold() not in known]
    alone = {tag.casefold() for item in tags for tag in item if " " not in tag}
    return [[word for tag in item for word in _split(tag, alone)] for item in tags], levels


def _name(part: str) -> str | None:
    """A part of a text as a name; None if it is too long for one, or says nothing."""
    name = part.strip(" \u00ae\u2122")
    return name if 1 < len(name) <= _MOST_CHARS and name.casefold() not in _NAMELESS else None


def _split(tag: str, alone: set[str]) -> list[str]:
    """`Comedy Romance` as two tags, if other items have each of its words alone."""
    words = tag.split()
    return words if all(word.casefold() in alone for word in words) else [tag]


def _of_tag(tag: str, brands: set[str]) -> Trait:
    return Trait(BRAND if tag.casefold() in brands else CATEGORY, tag.casefold())


def _brands(titles: Sequence[str], tags: Sequence[Sequence[str]], levels: Sequence[Sequence[str]]) -> set[str]:
    """The tags with which, or with whose first word, most of their items' titles begin; those that mostly come with a
    path of categories; and rare tags that are the only one of most of their items, unlike genres."""
    begins, with_path, count, only = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for title, item, path in zip(titles, tags, levels, strict=True):
        start = title.casefold().split()[:3]
        for name in {tag.casefold() for tag in item}:
            count[name] += 1
            with_path[name] += bool(path)
            only[name] += sum(not _YEAR.fullmatch(tag) for tag in item) == 1
            begins[name] += _begins(title, name) or name.split()[0] in start or name.replace(" ", "") in start
    leading = {name for name, number in begins.items() if number >= _FEWEST_ITEMS and 2 * number > count[name]}
    rare = {name for name, number in only.items() if 2 * number > count[name] and count[name] < _RARE * len(titles)}
    return leading | rare | {name for name, number in with_path.items() if 2 * number > count[name]}


def _begins(title: str, name: str) -> bool:
    start = title.casefold()
    return start.startswith(name) and not start[len(name) : len(name) + 1].isalnum()


def _leading_brand(title: str, brands: set[str]) -> str | None:
    """The longest brand that a title begins with."""
    words = title.casefold().split()[:4]
    starts = (" ".join(words[:number]).strip(",:®™") for number in range(len(words), 0, -1))
    return next((start for start in starts if start in brands and _begins(title, start)), None)


def _without(title: str, brand: str | None) -> str:
    """The title without its brand at the start and without its year."""
    title = _YEAR_IN_TITLE.sub(" ", title)
    return title[len(brand) :] if brand and _begins(title, brand) else title


def _decade(title: str, tags: Sequence[str]) -> str | None:
    years = [*_YEAR_IN_TITLE.findall(title), *(tag for tag in tags if _YEAR.fullmatch(tag))]
    return f"{years[-1][:3]}0s" if years else None
