"""Parse a reply of the LLM. Nothing in it can stop a run: an unusable reply has a reason (METHOD, fault 6)."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

_STARTS, _LENGTHS, _ENTRIES = 100, 2, 1000
"""Most brackets tried as the start of the list; most characters read, in lengths of the reply; most entries read. An
honest answer stays far below; without them a reply full of brackets would take quadratic time."""


@dataclass(frozen=True)
class Parsed:
    """Usable interests and, for each of them, its evidence: title numbers from 1. `reason` says why there is no
    interest, and is None otherwise. `whole` is False if the list breaks off at the end of the reply; the interests are
    those before the break."""

    interests: list[str]
    evidence: list[list[int]]
    reason: str | None
    whole: bool = True


def parse_reply(
    reply: str,
    num_titles: int,
    examples: Set[str],
    max_interests: int,
    offered: Mapping[str, Collection[int]] | None = None,
) -> Parsed:
    """Read `[{"interest": text, "items": [numbers]}]`, with or without other text around it, in linear time.

    An entry is dropped if its interest is not text, is empty, repeats an earlier one, or is word for word one of the
    prompt's `examples` (case-folded phrases). Numbers outside 1..`num_titles` are dropped from the evidence. If the
    list breaks off at the end of the reply, its whole entries are read. With a closed vocabulary, `offered` has the
    numbers of the titles that carry each phrase: other phrases and other numbers are dropped.
    """
    value, whole, reason = _json_list(reply)
    if value is None:
        return Parsed([], [], reason, whole)
    interests: list[str] = []
    evidence: list[list[int]] = []
    taken: set[str] = set()
    repeats = 0
    for entry in value[:_ENTRIES]:
        phrase = _phrase(entry)
        if offered is not None and phrase not in offered:
            continue
        if phrase.casefold() in examples:
            repeats += 1
        elif phrase and phrase.casefold() not in taken and len(interests) < max_interests:
            taken.add(phrase.casefold())
            interests.append(phrase)
            numbers = _numbers(entry, num_titles)
            evidence.append([number for number in numbers if offered is None or number in offered[phrase]])
    if interests:
        return Parsed(interests, evidence, None, whole)
    return Parsed([], [], "only repeats the prompt's examples" if repeats else "no entry with an interest", whole)


def _json_list(reply: str) -> tuple[list[Any] | None, bool, str]:
    """The first JSON list in `reply` with an interest, otherwise the first one; whether it is whole; and the reason if
    there is none."""
    decoder, first, whole, reason = json.JSONDecoder(), None, True, ""
    budget = _LENGTHS * len(reply)
    for start in _starts(reply):
        complete = True
        try:
            value, end = decoder.raw_decode(reply, start)
        except RecursionError:  # and the lists within are too
            return first, True, reason or "JSON too deep"
        except json.JSONDecodeError as error:
            value, end, complete = [], error.pos, not _breaks_off(error)
            whole = whole and complete
            if not complete:
                value, end = _whole_entries(decoder, reply, start), len(reply)
            reason = reason or "broken JSON (JSONDecodeError)"
        except ValueError as error:  # a number of thousands of digits
            value, end, reason = [], len(reply), reason or f"broken JSON ({type(error).__name__})"
        if any(map(_phrase, value[:_ENTRIES])):
            return value, complete, ""
        if first is None and not reason:
            first = value
        budget -= end - start
        if budget < 0:
            break
    return first, whole, reason or ("no JSON list" if reply.strip() else "empty reply")


def _starts(reply: str) -> Iterator[int]:
    """Positions of the first brackets."""
    for number, bracket in enumerate(re.finditer(r"\[", reply)):
        if number == _STARTS:
            return
        yield bracket.start()


def _breaks_off(error: json.JSONDecodeError) -> bool:
    """True if the text is JSON up to its end."""
    rest = error.doc[error.pos :].strip()
    return error.msg.startswith("Unterminated string") or any(
        word.startswith(rest) for word in ("true", "false", "null", "-")
    )


def _whole_entries(decoder: json.JSONDecoder, reply: str, start: int) -> list[Any]:
    """The first values of the list that opens at `start`, up to the first one that is cut."""
    values: list[Any] = []
    position = start + 1
    while len(values) < _ENTRIES:
        try:
            value, position = decoder.raw_decode(reply, _skip(reply, position))
        except (ValueError, RecursionError):
            break
        values.append(value)
        position = _skip(reply, position)
        if reply[position : position + 1] != ",":
            break
        position += 1
    return values


_SPACE = re.compile(r"[ \t\n\r]*")


def _skip(reply: str, position: int) -> int:
    """The next position without white space."""
    space = _SPACE.match(reply, position)
    assert space is not None
    return space.end()


def _phrase(entry: Any) -> str:
    phrase = entry.get("interest") if isinstance(entry, dict) else None
    if not isinstance(phrase, str):
        return ""
    # JSON can spell half a character (a lone surrogate), which no file can hold.
    return " ".join(phrase.encode("utf-8", "ignore").decode().split())


def _numbers(entry: dict[str, Any], num_titles: int) -> list[int]:
    numbers = entry.get("items")
    if not isinstance(numbers, list):
        return []
    fit = [number for number in numbers if type(number) is int and 1 <= number <= num_titles]
    return list(dict.fromkeys(fit))
