"""What is known about each item: the LLM's replies parsed, and a control without their meaning.

Shapes: N items.
"""

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from eimf import schema

_CHARS_PER_WORD = 10
"""Most characters of an answer by its words: an English word and a blank are six."""
_SHORTEST = 3
"""Fewest characters of an answer."""
_CONTROL_SEED = 2026
_FIELD = re.compile(r'"knowledge"\s*:\s*"')
_STRING = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class ItemQuestion:
    """What is asked about one item: the rendered prompt, the JSON schema of the reply, and the item's text."""

    prompt: str
    item: str
    json_schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ParsedKnowledge:
    """The words of a reply, on one line. `reason` says why there are none, and is None otherwise. `whole` is False if
    the reply breaks off; its last word, which may be half of one, is left out."""

    text: str
    reason: str | None
    whole: bool = True


def knowledge_schema(max_words: int) -> dict[str, Any]:
    """JSON schema of a reply: `{"knowledge": text}`."""
    text = {"type": "string", "minLength": _SHORTEST, "maxLength": _CHARS_PER_WORD * max_words}
    return {
        "type": "object",
        "properties": {"knowledge": text},
        "required": ["knowledge"],
        "additionalProperties": False,
    }


def parse_knowledge(reply: str, item: str, examples: Set[str], max_words: int) -> ParsedKnowledge:
    """Read `{"knowledge": text}`, with or without other text around it, in linear time; at most the first `max_words`
    words. Nothing in a reply can stop a run.

    A text without a letter, one that is the `item`'s own, and one of the prompt's `examples` (case-folded answers) are
    no knowledge."""
    start = _FIELD.search(reply)
    if start is None:
        return ParsedKnowledge("", "no field knowledge" if reply.strip() else "empty reply")
    string = _STRING.match(reply, start.end())
    assert string is not None  # it matches the empty text
    whole = reply[string.end() : string.end() + 1] == '"'
    words = _unescaped(string[0]).split()
    text = " ".join((words if whole else words[:-1])[:max_words])
    if not _LETTER.search(text):
        return ParsedKnowledge("", "no words", whole)
    if text.casefold() in examples:
        return ParsedKnowledge("", "only repeats an example of the prompt", whole)
    if text.casefold() == " ".join(item.split()).casefold():
        return ParsedKnowledge("", "only repeats the item", whole)
    return ParsedKnowledge(text, None, whole)


def _unescaped(string: str) -> str:
    """The text of the inside of a JSON string, without halves of characters (lone surrogates), which no file can
    hold. What is no JSON stays as it is."""
    try:
        text = str(json.loads(f'"{string}"', strict=False))
    except ValueError:
        text = string
    return text.encode("utf-8", "ignore").decode()


def shuffled(texts: Sequence[str | None]) -> list[str | None]:
    """Each text at the place of another one, at random; None stays where it is. A single text stays too."""
    known = np.array([row for row, text in enumerate(texts) if text is not None], dtype=np.int64)
    order = np.random.default_rng(_CONTROL_SEED).permutation(known)
    result: list[str | None] = [None] * len(texts)
    for to, source in zip(order, np.roll(order, 1), strict=True):
        result[to] = texts[source]
    return result


def knowledge_table(items: pa.Table, texts: Sequence[str | None]) -> pa.Table:
    """`schema.ITEM_KNOWLEDGE` of the rows of dataset/items and the text [N] of each."""
    columns = [items[schema.ITEM], items[schema.ITEM_ID], pa.array(texts, pa.string())]
    return pa.table(columns, schema=schema.ITEM_KNOWLEDGE)
