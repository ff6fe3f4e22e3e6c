"""What the LLM is asked about next items, and what it picks (stage 7a): a closed set of numbered candidates.

Our decision. The reply is an object whose keys are numbers of candidates, `{"3": true, "7": true}`: the grammar of its
JSON schema takes each number at most once and exactly as many as are asked for, which a list of numbers could only have
by `uniqueItems`, and that vLLM's grammars do not know. Numbers come in ascending order.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator

from eimf import schema
from eimf.errors import DataError
from eimf.esim.candidates import Candidates
from eimf.esim.generate import Question, Renderer, Replies
from eimf.esim.prompt import numbered
from eimf.esim.template_file import read_template

_PARTS = ("{history}", "{candidates}")
_BETWEEN = re.compile(r"(\{history\}|\{candidates\})")
_STARTS = 100
"""Most brackets tried as the start of the reply's value."""
_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


class PickTemplate(BaseModel):
    """The prompt: the task, and how titles and candidates are shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: int = Field(ge=0, lt=2**31)
    """Counted up by the author with every change."""
    system: str
    """The task. `{picks}` is how many candidates to pick, here and in `turn`."""
    turn: str
    """What is asked about one user: `{history}` and `{candidates}` are numbered titles."""

    @field_validator("turn")
    @classmethod
    def _shows_both(cls, turn: str) -> str:
        if any(turn.count(part) != 1 for part in _PARTS):
            raise ValueError(f"needs {' and '.join(_PARTS)}, each once")
        return turn


def load_pick_template(name: str, folder: Path) -> PickTemplate:
    """A built-in template by name, or a TOML file relative to `folder`. Raises SettingError."""
    return read_template(PickTemplate, name, folder, field="picks.template", built_in="templates/picks")


class PickPrompts:
    """Renders the prompts for one model. Titles are data: none becomes a marker of the chat format."""

    def __init__(self, template: PickTemplate, renderer: Renderer, picks: int) -> None:
        self._template, self._renderer, self._picks = template, renderer, str(picks)

    def write(self, titles: Sequence[str], candidates: Sequence[str]) -> str:
        """The prompt. Raises DataError if the model would read a marker in a title."""
        history, offered = self._clean(titles), self._clean(candidates)
        prompt = self._render(history, offered)
        harmless = self._render(["x"] * len(history), ["x"] * len(offered))
        if self._renderer.markers(prompt) != self._renderer.markers(harmless):
            one = self._renderer.markers(self._render(["x"], ["x"]))
            every = [*history, *offered]
            unsafe = [title for title in every if self._renderer.markers(self._render([title], ["x"])) != one]
            problem = f"title {(unsafe or every)[0][:100]!r} holds a special token of the LLM"
            raise DataError("dataset.columns.title", problem, "change that title, or leave it empty")
        return prompt

    def _clean(self, titles: Sequence[str]) -> list[str]:
        return [self._renderer.as_data(" ".join(title.split())) for title in titles]

    def _render(self, titles: Sequence[str], candidates: Sequence[str]) -> str:
        texts = self._template.system, self._template.turn
        system, turn = (text.strip().replace("{picks}", self._picks) for text in texts)
        titles_of = {"{history}": numbered(titles), "{candidates}": numbered(candidates)}
        content = "".join(titles_of.get(part, part) for part in _BETWEEN.split(turn))
        messages = [{"role": "system", "content": system}, {"role": "user", "content": content}]
        return self._renderer.render(messages)


def picks_schema(num_candidates: int, picks: int) -> dict[str, Any]:
    """JSON schema of a reply: `picks` different numbers from 1 to `num_candidates`, as keys."""
    return {
        "type": "object",
        "properties": {str(number): {"const": True} for number in range(1, num_candidates + 1)},
        "additionalProperties": False,
        "minProperties": picks,
        "maxProperties": picks,
    }


@dataclass(frozen=True)
class ParsedPicks:
    """The numbers of the picked candidates, distinct, in the order of the reply. `reason` says why there is none."""

    numbers: list[int]
    reason: str | None
    whole: bool = True


def parse_picks(reply: str, question: Question) -> ParsedPicks:
    """Read `{"3": true, "7": true}`, or a list of numbers, with or without other text around it. Numbers that no
    candidate has, and more than were asked for, are dropped. Nothing in a reply can stop a run (METHOD, fault 6)."""
    num_candidates, most = len(question.json_schema["properties"]), question.json_schema["maxProperties"]
    for start in _starts(reply):
        try:
            value, _ = json.JSONDecoder().raw_decode(reply, start)
        except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or too deep
            continue
        known = [number for number in _numbers(value) if 1 <= number <= num_candidates]
        if known:
            return ParsedPicks(list(dict.fromkeys(known))[:most], None)
    return ParsedPicks([], "no number of a candidate" if reply.strip() else "empty reply")


def _starts(reply: str) -> list[int]:
    """Positions of the first brackets."""
    return [match.start() for match, _ in zip(re.finditer(r"[\[{]", reply), range(_STARTS), strict=False)]


def _numbers(value: Any) -> list[int]:
    """The numbers in a reply's value, in order."""
    if isinstance(value, Mapping):
        value = [key for key, picked in value.items() if picked is not False]
    texts = [str(entry) for entry in value if isinstance(entry, int | str) and not isinstance(entry, bool)]
    return [int(text) for text in texts if _NUMBER.fullmatch(text)]


def check_any(replies: pa.Table) -> None:
    """Raise DataError with the most frequent reason if no reply (`schema.PARSED_REPLIES`) picks a candidate."""
    reasons = Counter(replies[schema.REASON].to_pylist())
    if reasons[None] == 0 and reasons:
        reason, count = reasons.most_common(1)[0]
        problem = f"no reply of the LLM picks a candidate ({count} of {replies.num_rows}: {reason})"
        raise DataError("picks", problem, "use another llm.model or picks.template, or set picks.enabled=false")


def picks_table(
    requests: pa.Table,
    candidates: Mapping[int, Candidates],
    cluster: pa.ChunkedArray,
    replies: Replies[Question, ParsedPicks],
) -> pa.Table:
    """`schema.PICKS`, of `requests` (`schema.REQUESTS`) that showed `candidates`, by the user that was asked about;
    `cluster` [U] is that of each user."""
    parts = [schema.PICKS.empty_table()]
    for key, user in zip(*(requests[name].to_pylist() for name in (schema.REQUEST_KEY, schema.USER)), strict=True):
        offered, picked = candidates[user], set(replies.last(key).parsed.numbers)
        number = np.arange(1, len(offered.item_idx) + 1)
        is_picked = np.isin(number, list(picked))
        columns = [np.full(len(number), cluster[user].as_py()), number, offered.item_idx, offered.similarity, is_picked]
        parts.append(pa.table([pa.array(column) for column in columns], names=schema.PICKS.names).cast(schema.PICKS))
    return pa.concat_tables(parts).sort_by([(schema.CLUSTER, "ascending"), (schema.NUMBER, "ascending")])
