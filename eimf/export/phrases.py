"""The LLM's interests as phrases, and their merging: one name for what is said in other words.

Shapes: M phrases, S text width, G groups.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from eimf import schema

SAME_MEANING = 0.9
"""Cosine from which the text vectors of two phrases count as the same meaning. Our decision."""


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
        texts, evidence = ([column[row] for row in rows] for column in (self.texts, self.evidence))
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
        parts.setdefault(_key(part), part)
    kept = [part for key, part in parts.items() if key and key not in _INSIDE]
    return ", ".join(kept)


_INSIDE = frozenset({"and"})


def _key(phrase: str) -> str:
    """Equal for phrases that differ in case, punctuation, plural, or the order of their words."""
    words = {_singular(word) for word in re.findall(r"\w+", phrase.casefold())}
    return " ".join(sorted(words - {"and", "or", "the", "a", "an", "of", "for", "with"}) or sorted(words))


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def merge(phrases: Phrases, same_meaning: float = SAME_MEANING) -> list[np.ndarray]:
    """Rows of phrases that mean the same, a group for each name; in each the row whose text is the name comes first.

    Phrases that differ in case, punctuation, plural or order of words are one; of these, the ones said most often come
    first, and take in all others whose text vector is nearer than `same_meaning`.
    """
    groups: dict[str, list[int]] = {}
    for row, text in enumerate(phrases.texts):
        groups.setdefault(_key(text), []).append(row)
    spelled = sorted((_by_frequency(rows, phrases.texts) for key, rows in groups.items() if key), key=_size)
    leads = phrases.vectors[[rows[0] for rows in spelled]] if spelled else phrases.vectors[:0]
    same = leads @ leads.T >= same_meaning
    taken, merged = np.zeros(len(spelled), bool), []
    for lead in range(len(spelled)):
        if not taken[lead]:
            members = np.flatnonzero(same[lead] & ~taken)
            members = np.concatenate([[lead], members[members != lead]])
            taken[members] = True
            merged.append(np.concatenate([spelled[member] for member in members]))
    return merged


def _by_frequency(rows: list[int], texts: Sequence[str]) -> np.ndarray:
    """`rows`, those with the most frequent spelling first, the shorter one if two are as frequent."""
    said: dict[str, int] = {}
    for row in rows:
        said[texts[row]] = said.get(texts[row], 0) + 1
    return np.array(sorted(rows, key=lambda row: (-said[texts[row]], len(texts[row]), texts[row], row)))


def _size(rows: np.ndarray) -> tuple[int, int]:
    return -len(rows), int(rows[0])
