"""Phrases in the titles of a catalogue: which kind of thing it is (`inkjet printers`), which series (`Star Trek`)."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np

_WORD = re.compile("[^\\W\\d_]+(?:['\u2019&.-][^\\W\\d_]+)*")
_END = re.compile('[,;:()\\[\\]{}|/!?"~]|\\s[-\u2013\u2014]+\\s')
_AROUND = "\u00ae\u2122.'\u2019"
"""Signs that may stick to a word."""
_BREAK = frozenset({"for", "with", "w", "by", "in", "from", "without", "featuring", "compatible", "to", "at", "on"})
"""The words after one of these tell what the thing is for, or comes with."""
_EDGE = _BREAK | {
    "a",
    "an",
    "the",
    "and",
    "or",
    "of",
    "as",
    "no",
    "not",
    "all",
    "about",
    "&",
    "per",
    "my",
    "your",
    "his",
    "her",
}
"""No phrase begins or ends with one of these."""
_NO_KIND_WORDS = ("set", "kit", "pack", "combo", "bundle", "collection", "system", "replacement", "product", "size")
_NO_KIND = {(word,) for word in _NO_KIND_WORDS}
"""A title that ends with one of these does not end with the kind."""
_LONGEST, _FEWEST_LETTERS, _ACRONYM = 3, 3, 3
_FRAGMENT = 0.8
"""A phrase is a fragment of one that is a word longer if this share of its items has that (`stic ballpoint pens`)."""
_MOST_PAIRS = 300_000
_LONGER, _LONE_SERIES, _PRIOR = (2, 2.0), (3, 8.0), 1.0
"""The fewest titles with a phrase, and how much more often than by chance an item with it is followed by another one
with it; the same for a series of one word, which is an accident more often; events by which the chance is raised,
against rare phrases."""
_PLURAL = 0.02
"""A noun is written in the plural if at least this share of its uses in titles is."""

Phrase = tuple[str, ...]
"""Words in lower case; those of a kind without a plural s."""
Named = list[dict[str, str]]
"""For each item its phrases by name, as one writes them."""


def title_phrases(titles: Sequence[str], item_idx: np.ndarray, offsets: np.ndarray) -> tuple[Named, Named]:
    """The kinds of thing and the series that the titles of items 1..N name; the titles are without brand and year.

    A kind ends the first segment of a title (`Heavy Duty Stapler, Black`), a series begins it (`Police Academy 2`). A
    phrase counts only if several items have it and people follow it: in the training events (`item_idx` [E] of the
    users between `offsets` [U + 1]) an item with the phrase is followed by another one with it at least twice as often
    as by chance.
    """
    segments = [_first_segment(title) for title in titles]
    pairs, spell = _followed(item_idx, offsets), _Spelling(titles)
    ends = _whole([_ends(runs) for runs in segments], lambda phrase: phrase[1:])
    begins = _whole([_begins(runs) for runs in segments], lambda phrase: phrase[:-1])
    kinds, series = _kept(ends, segments, pairs, _LONGER), _kept(begins, segments, pairs, _LONE_SERIES)
    return (
        [{" ".join(phrase): spell.kind(phrase) for phrase in sorted(item)} for item in kinds],
        [{" ".join(phrase): spell.series(phrase) for phrase in sorted(item)} for item in series],
    )


class _Spelling:
    """How titles write the words of a phrase."""

    def __init__(self, titles: Iterable[str]) -> None:
        self._of_stem: dict[str, Counter[str]] = defaultdict(Counter)
        for title in titles:
            for word in _WORD.findall(title):
                self._of_stem[_stem(word)][word] += 1

    def kind(self, phrase: Phrase) -> str:
        """In lower case, but for acronyms and names, and in the plural if the titles have it."""
        *words, noun = phrase
        return " ".join([*(_lower(self._usual(word)) for word in words), self._plural(noun)])

    def series(self, phrase: Phrase) -> str:
        """As most titles write it."""
        return " ".join(map(self._usual, phrase))

    def _usual(self, word: str) -> str:
        """In the number in which it is given."""
        spellings = self._of_stem[_stem(word)]
        return _most_frequent({one: spellings[one] for one in spellings if one.casefold() == word} or spellings, word)

    def _plural(self, noun: str) -> str:
        spellings = self._of_stem[noun]
        plural = {one: spellings[one] for one in spellings if one.casefold() != noun}
        has_plural = sum(plural.values()) > _PLURAL * spellings.total()
        return _lower(_most_frequent(plural, noun) if has_plural else self._usual(noun))


def _most_frequent(spellings: dict[str, int], default: str) -> str:
    return min(spellings, key=lambda spelling: (-spellings[spelling], spelling), default=default)


def _lower(word: str) -> str:
    """The word in lower case, unless it has more capitals than a title gives it: `HP`, `iPod`."""
    parts = word.replace("-", " ").split()
    shouted = word.isupper() and len(word) > _ACRONYM
    return word if not shouted and any(letter.isupper() for part in parts for letter in part[1:]) else word.lower()


def _followed(item_idx: np.ndarray, offsets: np.ndarray) -> list[tuple[int, int]]:
    """Items that follow each other in training, as rows; no item after itself."""
    if len(item_idx) < 2:
        return []
    is_next = item_idx[1:] != item_idx[:-1]
    is_next[offsets[(offsets > 0) & (offsets < len(item_idx))] - 1] = False  # another user's
    first = np.flatnonzero(is_next)[:_MOST_PAIRS]
    return list(zip((item_idx[first] - 1).tolist(), (item_idx[first + 1] - 1).tolist(), strict=True))


def _whole(phrases: Sequence[set[Phrase]], shorten: Callable[[Phrase], Phrase]) -> list[set[Phrase]]:
    """Of each item's phrases, which may be a word too long, those of the right length that are no fragments."""
    count = Counter(phrase for item in phrases for phrase in item)
    longer = Counter[Phrase]()
    for phrase, number in count.items():
        longer[shorten(phrase)] = max(longer[shorten(phrase)], number)
    whole = {phrase for phrase, number in count.items() if longer[phrase] < _FRAGMENT * number and _stands(phrase)}
    return [item & whole for item in phrases]


def _kept(
    phrases: Sequence[set[Phrase]],
    segments: Sequence[list[list[str]]],
    pairs: Sequence[tuple[int, int]],
    lone: tuple[int, float],
) -> list[set[Phrase]]:
    """Of each item's phrases, those that several titles have and that people follow; `lone` has the fewest titles and
    the smallest lift of a phrase of one word."""
    distinct = {(phrase, str(runs)) for item, runs in zip(phrases, segments, strict=True) for phrase in item}
    count = Counter(phrase for phrase, _ in distinct)
    least = {1: lone}
    shared = [{phrase for phrase in item if count[phrase] >= least.get(len(phrase), _LONGER)[0]} for item in phrases]
    first, second, both = Counter[Phrase](), Counter[Phrase](), Counter[Phrase]()
    for one, other in pairs:
        first.update(shared[one])
        second.update(shared[other])
        both.update(shared[one] & shared[other])
    kept = {
        phrase
        for phrase, number in both.items()
        if number * len(pairs)
        >= least.get(len(phrase), _LONGER)[1] * (first[phrase] + _PRIOR) * (second[phrase] + _PRIOR)
    }
    return [item & kept for item in shared]


@cache
def _stem(word: str) -> str:
    """The word in lower case, without the s or es of a plural."""
    word = word.casefold()
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "'s")) else word


def _first_segment(title: str) -> list[list[str]]:
    """The words of the first segment that has any, in runs between numbers, up to a preposition."""
    for segment in _END.split(title):
        runs: list[list[str]] = [[]]
        for token in segment.split():
            word = token.strip(_AROUND).casefold()
            if word in _BREAK and any(runs):
                break
            if _WORD.fullmatch(word) and word not in _BREAK:
                runs[-1].append(word)
            else:
                runs.append([])
        if runs := [run for run in runs if run]:
            return runs
    return []


def _ends(runs: list[list[str]]) -> set[Phrase]:
    """The ends of the last run, but for a word that says nothing of the kind."""
    stems = [_stem(word) for word in runs[-1]] if runs else []
    return {tuple(stems[-length:]) for length in range(1, min(_LONGEST + 1, len(stems)) + 1)} - _NO_KIND


def _begins(runs: list[list[str]]) -> set[Phrase]:
    words = runs[0] if runs else []
    return {tuple(words[:length]) for length in range(1, min(_LONGEST + 1, len(words)) + 1)}


def _stands(part: Phrase) -> bool:
    """True for a phrase of the right length that neither begins nor ends with a function word."""
    long_enough = len(part) <= _LONGEST and sum(map(len, part)) >= _FEWEST_LETTERS
    return long_enough and part[0] not in _EDGE and part[-1] not in _EDGE
