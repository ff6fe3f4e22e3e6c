"""A reply of the LLM, read without ever stopping a run (METHOD, fault 6): what cannot be used has a reason."""

import json
import re
from collections.abc import Set
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Parsed:
    """Usable interests and, for each, the 1-based title numbers given as evidence. `reason` is None where there is
    any."""

    interests: list[str]
    evidence: list[list[int]]
    reason: str | None


def parse_reply(reply: str, titles: int, examples: Set[str], max_interests: int) -> Parsed:
    """Read `[{"interest": text, "items": [numbers]}]`, with or without other text around it.

    An entry is left out where its interest is no text, is empty, repeats an earlier one, or is word for word one
    of the prompt's `examples` (case-folded phrases). Numbers outside 1..`titles` are left out of the evidence.
    `reason` says why nothing was usable.
    """
    value, reason = _json_list(reply)
    if value is None:
        return Parsed([], [], reason)
    interests: list[str] = []
    evidence: list[list[int]] = []
    taken: set[str] = set()
    repeats = 0
    for entry in value:
        phrase = _phrase(entry)
        if phrase.casefold() in examples:
            repeats += 1
        elif phrase and phrase.casefold() not in taken:
            taken.add(phrase.casefold())
            interests.append(phrase)
            evidence.append(_numbers(entry, titles))
    if interests:
        return Parsed(interests[:max_interests], evidence[:max_interests], None)
    return Parsed([], [], "only repeats the prompt's examples" if repeats else "no entry with an interest")


def _json_list(reply: str) -> tuple[list[Any] | None, str]:
    """The first JSON list in `reply` with an interest, or else the first one; or the reason why there is none."""
    first, reason = None, ""
    for found in re.finditer(r"\[", reply):
        try:
            value, _ = json.JSONDecoder().raw_decode(reply, found.start())
        except RecursionError:  # and so is what lies within
            return first, reason or "JSON too deep"
        except ValueError as error:  # broken, or a number of thousands of digits
            reason = reason or f"broken JSON ({type(error).__name__})"
            continue
        if any(map(_phrase, value)):
            return value, ""
        if first is None and not reason:
            first = value
    return first, reason or ("no JSON list" if reply.strip() else "empty reply")


def _phrase(entry: Any) -> str:
    phrase = entry.get("interest") if isinstance(entry, dict) else None
    if not isinstance(phrase, str):
        return ""
    # JSON can spell a half of a character, which no file can hold.
    return " ".join(phrase.encode("utf-8", "ignore").decode().split())


def _numbers(entry: dict[str, Any], titles: int) -> list[int]:
    numbers = entry.get("items")
    if not isinstance(numbers, list):
        return []
    fit = [number for number in numbers if type(number) is int and 1 <= number <= titles]
    return list(dict.fromkeys(fit))
