"""From a typical user's history to the messages an LLM is sent (METHOD, stage one, 5)."""

import json
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eimf.errors import DataError, SettingError, on_one_line
from eimf.esim.generate import Renderer

Message = dict[str, str]
_NUMBER = Field(ge=1, le=10_000)


class _Interest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    interest: str = Field(min_length=1)
    items: tuple[Annotated[int, _NUMBER], ...]


class _Example(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    titles: tuple[str, ...] = Field(min_length=1)
    interests: tuple[_Interest, ...] = Field(min_length=1)


class Template(BaseModel):
    """A prompt template: what the model is told, and examples of people it has never seen."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: int = Field(ge=0, lt=2**31)
    """The author's count of changes."""
    system: str
    """The task, the same for every user."""
    examples: tuple[_Example, ...] = ()
    """Histories with their answers, shown as earlier turns of the conversation."""

    def example_phrases(self) -> frozenset[str]:
        """The interests of the examples, case-folded: a reply that repeats one has not read the user's history."""
        return frozenset(entry.interest.casefold() for example in self.examples for entry in example.interests)

    def example_evidence(self) -> list[list[list[int]]]:
        """The numbers that each example's interests name: a reply with just these has copied them."""
        return [[list(entry.items) for entry in example.interests] for example in self.examples]


def load_template(name: str, folder: Path) -> Template:
    """A built-in template by name, or a TOML file in UTF-8, with or without a byte order mark, relative to `folder`.
    Raises SettingError."""
    content = _template_file(name, folder)
    try:
        return Template.model_validate(tomllib.loads(content.decode("utf-8-sig")))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))[:100]}: {first['msg'].lower()}"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        reason = on_one_line(error)
    raise SettingError(
        "prompt.template", f"{name[:200]!r} is not a template ({reason})", "compare it with templates/movies.toml"
    )


def _template_file(name: str, folder: Path) -> bytes:
    built_in, path = resources.files("eimf.esim") / "templates" / f"{name}.toml", folder / name
    with suppress(OSError):  # a name that no file can have, say
        if "/" not in name and not name.endswith(".toml") and built_in.is_file():
            return built_in.read_bytes()
        if path.is_file():
            return path.read_bytes()
    hint = "use movies, products, or the path of a TOML file like those"
    raise SettingError("prompt.template", f"no template {name[:200]!r} that can be read", hint)


def numbered(titles: Sequence[str]) -> str:
    """One title a line, numbered from 1: what evidence refers to."""
    return "\n".join(f"{number}. {title}" for number, title in enumerate(titles, start=1))


def messages(template: Template, titles: Sequence[str]) -> list[Message]:
    """The conversation for one user. All but its last message is the same for every user, so that an engine's
    prefix cache holds it."""
    conversation = [{"role": "system", "content": template.system.strip()}]
    for example in template.examples:
        answer = [{"interest": entry.interest, "items": list(entry.items)} for entry in example.interests]
        conversation.append({"role": "user", "content": numbered(example.titles)})
        conversation.append({"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)})
    return [*conversation, {"role": "user", "content": numbered(titles)}]


class PromptWriter:
    """Renders each user's prompt for one model, with titles as data: no title becomes a marker of the chat format."""

    def __init__(self, template: Template, renderer: Renderer) -> None:
        self._template, self._renderer = template, renderer
        self._expected: dict[int, list[str]] = {}

    def write(self, titles: Sequence[str]) -> str:
        """The prompt. Raises DataError if it has another marker than it would have with harmless titles: that cannot
        be, unless a tokenizer reads what it has just said it does not."""
        clean = [self._renderer.as_data(" ".join(title.split())) for title in titles]
        prompt = self._render(clean)
        if self._renderer.markers(prompt) != self._markers_of(len(titles)):
            alone = [title for title in clean if self._renderer.markers(self._render([title])) != self._markers_of(1)]
            problem = f"title {(alone or clean)[0][:100]!r} holds a special token of the LLM"
            raise DataError("dataset.columns.title", problem, "change that title, or leave it empty")
        return prompt

    def _render(self, titles: Sequence[str]) -> str:
        return self._renderer.render(messages(self._template, titles))

    def _markers_of(self, count: int) -> list[str]:
        if count not in self._expected:
            self._expected[count] = self._renderer.markers(self._render(["x"] * count))
        return self._expected[count]


@dataclass(frozen=True)
class PromptHistory:
    """The part of a user's history that is in the prompt: item_idx and titles in order, and the position of the last
    one in the whole history."""

    item_idx: list[int]
    titles: list[str]
    last_position: int


def prompt_history(
    item_idx: np.ndarray, titles: Sequence[str | None], max_titles: int, title_chars: int
) -> PromptHistory | None:
    """The most recent training items that have a title; None if none has.

    `item_idx` are those of the user's training events in order, `titles` those of items 1..N (entry 0 is item 1).
    """
    events = [(position, int(item)) for position, item in enumerate(item_idx) if titles[item - 1] is not None]
    if not events:
        return None
    recent = [item for _, item in events[-max_titles:]]
    return PromptHistory(recent, [str(titles[item - 1])[:title_chars] for item in recent], events[-1][0])


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
