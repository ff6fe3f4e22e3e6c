"""Phrases in the titles of a catalogue: what a thing is (`inkjet printers`), and which series it is of (`Star Trek`)."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

_WORD = re.compile(r"[^\W\d_]+(?:['’\-&.][^\W\d_]+)*")
_END = re.compile(r"[,;:()\[\]{}|/!?\"~]|\s[-–—]+\s")
_BREAK = frozenset("for with w by in from without featuring compatible to at on using that which".split())
_EDGE = frozenset("a an the and or of as no not & per my your his her this that is are be".split()) | _BREAK
_NO_KIND = frozenset("set kit pack combo bundle collection system replacement piece unit product size series".split())
_LONGEST, _FEWEST_ITEMS, _FEWEST_LETTERS = 3, 2, 3
_MOST_PAIRS = 300_000
_LIFT, _LONE_LIFT, _PRIOR = 2.0, 8.0, 1.0
_PLURAL = 0.02
"""A noun is written in the plural if at least this share of its uses is."""

Phrase = tuple[str, ...]
"""Words in lower case; those of a kind without a plural s."""


class TitlePhrases:
    """The kinds of thing and the series that the titles of items 1..N name, by item: a kind ends the first segment of a
    title (`Swingline Heavy Duty Stapler, Black`), a series begins it (`Police Academy 2`)."""

    def __init__(self, titles: Sequence[str], item_idx: np.ndarray, offsets: np.ndarray) -> None:
        """`item_idx` [E] and `offsets` [U + 1] are the users' training events in order: a phrase counts only if people
        follow it. After an item with the phrase, another one with it comes at least twice as often as by chance."""
        segments = [_first_segment(title) for title in titles]
        self._spellings = _spellings(titles)
        followed = _Followed(item_idx, offsets)
        self.kinds = followed.keep([_ends(segment[-1]) if segment else [] for segment in segments])
        self.series = followed.keep([_begins(segment[0]) if segment else [] for segment in segments], _LONE_LIFT)

    def kind(self, phrase: Phrase) -> str:
        """A kind of thing as one writes it: in lower case, but for names and acronyms, and in the plural if the titles
        have it."""
        *words, noun = phrase
        return " ".join([*map(self._singular, words), self._plural(noun)])

    def name(self, phrase: Phrase) -> str:
        """A series as most titles write it."""
        return " ".join(map(self._usual, phrase))

    def _usual(self, word: str) -> str:
        """How most titles write the word, in this number."""
        all_spellings = self._spellings[_stem(word)]
        spellings = {one: count for one, count in all_spellings.items() if one.casefold() == word} or all_spellings
        return min(spellings, key=lambda spelling: (-spellings[spelling], spelling), default=word)

    def _singular(self, word: str) -> str:
        return _lower(self._usual(word))

    def _plural(self, noun: str) -> str:
        spellings = self._spellings[noun]
        plural = [spelling for spelling in spellings if spelling.casefold() != noun]
        if sum(spellings[spelling] for spelling in plural) < _PLURAL * spellings.total():
            return self._singular(noun)
        return _lower(min(plural, key=lambda spelling: (-spellings[spelling], spelling)))


def _lower(word: str) -> str:
    """The word in lower case, unless its capitals are more than those of a title: `HP`, `iPod`."""
    parts = word.replace("-", " ").split()
    return word if any(letter.isupper() for part in parts for letter in part[1:]) else word.lower()


class _Followed:
    """Which item comes after which in training."""

    def __init__(self, item_idx: np.ndarray, offsets: np.ndarray) -> None:
        is_next = np.ones(max(0, len(item_idx) - 1), bool)
        is_next[offsets[(offsets > 0) & (offsets < len(item_idx))] - 1] = False  # another user's
        is_next &= item_idx[1:] != item_idx[:-1]
        pairs = np.flatnonzero(is_next)[:_MOST_PAIRS]
        self._pairs = list(zip(item_idx[pairs].tolist(), item_idx[pairs + 1].tolist(), strict=True))

    def keep(self, phrases: Sequence[Iterable[Phrase]], lone_lift: float = _LIFT) -> list[set[Phrase]]:
        """Of each item's phrases, those that several items have and that people follow; `lone_lift` is the lift that a
        single word must have."""
        count = Counter(phrase for item in phrases for phrase in set(item))
        shared = [{phrase for phrase in item if count[phrase] >= _FEWEST_ITEMS} for item in phrases]
        first, second, both = Counter[Phrase](), Counter[Phrase](), Counter[Phrase]()
        for one, other in self._pairs:
            first.update(shared[one - 1])
            second.update(shared[other - 1])
            both.update(shared[one - 1] & shared[other - 1])
        pairs = max(1, len(self._pairs))
        kept = {
            phrase
            for phrase, number in both.items()
            if number
            >= (_LIFT if len(phrase) > 1 else lone_lift) * (first[phrase] + _PRIOR) * (second[phrase] + _PRIOR) / pairs
        }
        return [item & kept for item in shared]


def _stem(word: str) -> str:
    """The word in lower case, without the s or es of a plural."""
    word = word.casefold()
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "'s", "’s", "us")) else word


def _spellings(titles: Iterable[str]) -> dict[str, Counter[str]]:
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for title in titles:
        for word in _WORD.findall(title):
            spellings[_stem(word)][word] += 1
    return spellings


def _first_segment(title: str) -> list[list[str]]:
    """The words of the first segment that has any, in runs between numbers and prepositions."""
    for segment in _END.split(title):
        runs: list[list[str]] = [[]]
        for token in segment.split():
            is_word = _WORD.fullmatch(token.strip("®™.'’"))
            if is_word and token.casefold() not in _BREAK:
                runs[-1].append(token.strip("®™.'’").casefold())
            elif token.casefold() in _BREAK and any(runs):
                break  # what follows tells what the thing is for
            else:
                runs.append([])
        if runs := [run for run in runs if run]:
            return runs
    return []


def _ends(words: list[str]) -> list[Phrase]:
    stems = [_stem(word) for word in words]
    parts = [tuple(stems[-length:]) for length in range(1, _LONGEST + 1) if length <= len(words)]
    return [part for part in parts if _stands(part) and part[0] not in _NO_KIND]


def _begins(words: list[str]) -> list[Phrase]:
    parts = [tuple(words[:length]) for length in range(1, _LONGEST + 1) if length <= len(words)]
    return [part for part in parts if _stands(part)]


def _stands(part: Phrase) -> bool:
    """True for a phrase that neither begins nor ends with a function word."""
    return sum(map(len, part)) >= _FEWEST_LETTERS and part[0] not in _EDGE and part[-1] not in _EDGE
