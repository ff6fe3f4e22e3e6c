"""Titles and item texts: coverage, length, script, language, and what stands in them most often."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.data.card.distribution import Distribution, distribution
from eimf.data.card.language import function_words, language_of, script_of

MOST_SAMPLED = 2_000
_SEED = 2026
_MOST_SHOWN = 10
_SEPARATOR = " | "
"""Between the columns of the metadata, and often between several values of one."""

Shares = tuple[tuple[str, float], ...]
"""Names and their shares, the largest first."""


@dataclass(frozen=True)
class Texts:
    """`titled` of all `items` have a title. The rest is of `sampled` items, all of them if these are few, and of those
    of them that have a title. `told`: titles whose language can be told; `languages` are shares of these, `scripts` of
    the titles with a letter. `common`: the parts of the metadata, such as brands and categories, with the share of
    items that have them; without metadata, the first words of titles; `common_of` says which."""

    items: int
    titled: int
    sampled: int
    title_characters: Distribution
    title_words: Distribution
    text_characters: Distribution
    text_words: Distribution
    scripts: Shares
    languages: Shares
    told: int
    common: Shares
    common_of: str


def describe_texts(items: pa.Table) -> Texts:
    """Of `schema.ITEMS`, one row or more. The sample is the same for the same number of items."""
    rows = np.arange(items.num_rows)
    if len(rows) > MOST_SAMPLED:
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, MOST_SAMPLED, replace=False))
    sample = items.select([schema.TITLE, schema.METADATA, schema.TEXT]).take(rows)
    texts = sample[schema.TEXT].to_pylist()
    titles = [title for title in sample[schema.TITLE].to_pylist() if title]
    known = function_words()
    languages = [language for title in titles if (language := language_of(title, known))]
    common_of, common = _common(sample)
    return Texts(
        items=items.num_rows,
        titled=items.num_rows - items[schema.TITLE].null_count,
        sampled=len(texts),
        title_characters=_lengths(titles, len),
        title_words=_lengths(titles, _num_words),
        text_characters=_lengths(texts, len),
        text_words=_lengths(texts, _num_words),
        scripts=_shares([script for title in titles if (script := script_of(title))]),
        languages=_shares(languages),
        told=len(languages),
        common=common,
        common_of=common_of,
    )


def _num_words(text: str) -> int:
    return len(text.split())


def _lengths(texts: Sequence[str], length: Callable[[str], int]) -> Distribution:
    return distribution(np.array([length(text) for text in texts], np.int64))


def _shares(names: Sequence[str], of: int | None = None) -> Shares:
    """The most common names and their shares of all `names`, or of `of`."""
    total = max(len(names) if of is None else of, 1)
    return tuple((name, count / total) for name, count in Counter(names).most_common(_MOST_SHOWN))


def _common(sample: pa.Table) -> tuple[str, Shares]:
    rows = [(row[schema.TITLE] or "", (row[schema.METADATA] or "").split(_SEPARATOR)) for row in sample.to_pylist()]
    parts = [part for title, values in rows for part in set(values) - {"", title}]
    if parts:
        return "values of metadata", _shares(parts, len(rows))
    return "first words of titles", _shares([words[0] for title, _ in rows if (words := title.split())])
