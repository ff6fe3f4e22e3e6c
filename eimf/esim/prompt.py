"""From a typical user's history to the messages an LLM is sent (METHOD, stage one, 5)."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eimf.errors import SettingError

Message = dict[str, str]


class _Interest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    interest: str = Field(min_length=1)
    items: tuple[int, ...]


class _Example(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    titles: tuple[str, ...] = Field(min_length=1)
    interests: tuple[_Interest, ...] = Field(min_length=1)


class Template(BaseModel):
    """A prompt template: what the model is told, and examples of people it has never seen."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: int
    """The author's count of changes."""
    system: str
    """The task, the same for every user."""
    examples: tuple[_Example, ...] = ()
    """Histories with their answers, shown as earlier turns of the conversation."""

    def example_phrases(self) -> frozenset[str]:
        """The interests of the examples, case-folded: a reply that repeats one has not read the user's history."""
        return frozenset(entry.interest.casefold() for example in self.examples for entry in example.interests)


def load_template(name: str, folder: Path) -> Template:
    """A built-in template by name, or a TOML file, relative to `folder`. Raises SettingError."""
    built_in = resources.files("eimf.esim") / "templates" / f"{name}.toml"
    path = folder / name
    if "/" not in name and not name.endswith(".toml") and built_in.is_file():
        text = built_in.read_bytes()
    elif path.is_file():
        text = path.read_bytes()
    else:
        raise SettingError(
            "prompt.template",
            f"no template {name!r}",
            "use movies, products, or the path of a TOML file like those",
        )
    try:
        return Template.model_validate(tomllib.loads(text.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
        raise SettingError(
            "prompt.template",
            f"{name!r} is not a template ({reason})",
            "compare it with templates/movies.toml",
        ) from error


def numbered(titles: Sequence[str]) -> str:
    """One title a line, numbered from 1: what evidence refers to."""
    return "\n".join(f"{number}. {title}" for number, title in enumerate(titles, start=1))


def messages(template: Template, titles: Sequence[str]) -> list[Message]:
    """The conversation for one user. All but its last message is the same for every user, so that an engine's
    prefix cache holds it."""
    talk = [{"role": "system", "content": template.system.strip()}]
    for example in template.examples:
        answer = [{"interest": entry.interest, "items": list(entry.items)} for entry in example.interests]
        talk.append({"role": "user", "content": numbered(example.titles)})
        talk.append({"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)})
    return [*talk, {"role": "user", "content": numbered(titles)}]


@dataclass(frozen=True)
class Shown:
    """What one user's prompt shows: item_idx and titles in order, and the last one's position in the history."""

    items: list[int]
    titles: list[str]
    last_position: int


def shown_history(items: np.ndarray, titles: Sequence[str | None], max_titles: int, title_chars: int) -> Shown | None:
    """The most recent training items that have a title; None where there is none.

    `items` are the user's training events in order, `titles` the titles of items 1..N (entry 0 is item 1).
    """
    known = [(place, int(item)) for place, item in enumerate(items) if titles[item - 1] is not None][-max_titles:]
    if not known:
        return None
    chosen = [item for _, item in known]
    return Shown(chosen, [str(titles[item - 1])[:title_chars] for item in chosen], known[-1][0])


def reply_schema(*, min_interests: int, max_interests: int, interest_chars: int, max_titles: int) -> dict[str, Any]:
    """JSON schema of a reply: `[{"interest": text, "items": [1-based numbers of titles]}]`."""
    number = {"type": "integer", "minimum": 1, "maximum": max_titles}
    entry = {
        "type": "object",
        "properties": {
            "interest": {"type": "string", "minLength": 3, "maxLength": interest_chars},
            "items": {"type": "array", "items": number, "minItems": 1, "maxItems": 6},
        },
        "required": ["interest", "items"],
        "additionalProperties": False,
    }
    return {"type": "array", "items": entry, "minItems": min_interests, "maxItems": max_interests}
