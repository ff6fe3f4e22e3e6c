"""The LLM's interests as phrases, and their merging: one name for what is said in other words.

Shapes: M phrases, S text width, G groups.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from eimf import schema

SAME_MEANING = 0.9
"""Cosine from which the text vectors of two phrases count as the same meaning. Our decision."""
LONGEST_NAME = 100
"""Characters."""
_SMALL_WORDS = frozenset({"and", "or", "the", "a", "an", "of", "for", "with", "in"})


@dataclass(frozen=True)
class Phrases:
    """`interest_ids` [M] name rows of the `interests` artifact; `texts` [M] what the LLM said, `evidence` [M] the
    item_idx that it named for it, `vectors` [M, S] the unit vectors of the texts."""

    interest_ids: np.ndarray
    texts: Sequence[str]
    evidence: Sequence[Sequence[int]]
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> "Phrases":
        """Some of them."""
        texts, evidence = [self.texts[row] for row in rows], [self.evidence[row] for row in rows]
        return Phrases(self.interest_ids[rows], texts, evidence, self.vectors[rows])


def read_phrases(interests: pa.Table, vectors: pa.Table) -> Phrases:
    """From the tables of an `interests` and an `interest_vectors` artifact. Raises ArtifactError."""
    schema.checked(interests, schema.INTERESTS, schema.INTERESTS.names)
    schema.checked(vectors, schema.interest_vectors(schema.width_of(vectors)))
    return Phrases(
        interests[schema.INTEREST_ID].to_numpy(),
        interests[schema.INTEREST].to_pylist(),
        interests[schema.EVIDENCE].to_pylist(),
        schema.vectors_of(vectors),
    )


def readable(phrase: str) -> str:
    """The phrase without repeated parts and loose ends: small models stutter ("mice, mice, mice")."""
    parts: dict[str, str] = {}
    for part in re.split(r"\s*[,;]\s*", phrase.strip(" \t\n.,;:-\"'")):
        parts.setdefault(_part_key(part), part)
    return ", ".join(part for part in parts.values() if re.search(r"[^\W\d_]{2}", part)) or phrase


def _is_name(phrase: str) -> bool:
    """False for a phrase without a word, a long one, and one that has a word three times: a model in a loop."""
    words = [_singular(word) for word in re.findall(r"[^\W\d_]{2,}", readable(phrase).casefold())]
    return (
        bool(words)
        and len(readable(phrase)) <= LONGEST_NAME
        and max(Counter(word for word in words if word not in _SMALL_WORDS).values(), default=0) <= 2
    )


def _key(phrase: str) -> str:
    """Equal for phrases that differ in case, punctuation, plural, or the order of their words."""
    words = {_singular(word) for word in re.findall(r"\w+", readable(phrase).casefold())}
    return " ".join(sorted(words - _SMALL_WORDS) or sorted(words))


def _part_key(part: str) -> str:
    """The same for a part of a phrase, which begins with "and" perhaps."""
    return " ".join(sorted({_singular(word) for word in re.findall(r"\w+", part.casefold())} - _SMALL_WORDS))


def _numbers(phrase: str) -> frozenset[str]:
    """Words with a digit, such as a model or a year: phrases that differ in them do not mean the same."""
    return frozenset(re.findall(r"\w*\d\w*", phrase.casefold()))


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def merge(phrases: Phrases, same_meaning: float = SAME_MEANING) -> list[np.ndarray]:
    """Rows of phrases that mean the same, a group for each name; in each the row whose text is the name comes first.

    Phrases that differ in case, punctuation, plural, repetition or order of words are one. Then those said most often
    come first, and take in all others whose text vector is nearer than `same_meaning` and that name the same numbers.
    A phrase without a word, or with a word three times, is no name.
    """
    spellings: dict[str, list[int]] = {}
    for row, text in enumerate(phrases.texts):
        if _is_name(text):
            spellings.setdefault(_key(text), []).append(row)
    spelled = sorted((_by_frequency(rows, phrases.texts) for rows in spellings.values()), key=_by_size)
    numbers = [_numbers(phrases.texts[rows[0]]) for rows in spelled]
    leads = phrases.vectors[[rows[0] for rows in spelled]] if spelled else phrases.vectors[:0]
    taken, groups = np.zeros(len(spelled), bool), []
    for lead, rows in enumerate(spelled):
        if taken[lead]:
            continue
        near = np.flatnonzero((leads @ leads[lead] >= same_meaning) & ~taken).tolist()
        others = [other for other in near if other != lead and numbers[other] == numbers[lead]]
        taken[[lead, *others]] = True
        groups.append(np.concatenate([rows, *(spelled[other] for other in others)]))
    return groups


def _by_frequency(rows: list[int], texts: Sequence[str]) -> np.ndarray:
    """`rows`, those with the most frequent spelling first, the shorter one if two are as frequent."""
    said: dict[str, int] = {}
    for row in rows:
        said[texts[row]] = said.get(texts[row], 0) + 1
    return np.array(sorted(rows, key=lambda row: (-said[texts[row]], len(texts[row]), texts[row], row)))


def _by_size(rows: np.ndarray) -> tuple[int, int]:
    return -len(rows), int(rows[0])
