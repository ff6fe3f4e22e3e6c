"""The prompt for a typical user's history (METHOD, stage one, 5)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from eimf.errors import DataError
from eimf.esim.generate import Renderer
from eimf.esim.markers import is_marker
from eimf.esim.template_file import read_template
from eimf.esim.vocabulary import BRAND, CATEGORY, DECADE, KIND, SERIES

Message = dict[str, str]
_NAMED = (DECADE, BRAND, CATEGORY, KIND, SERIES)
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
    """A prompt template: the task, and examples with their answers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: int = Field(ge=0, lt=2**31)
    """Counted up by the author with every change."""
    system: str
    """The task, the same for every user."""
    examples: tuple[_Example, ...] = ()
    """Histories with their answers, shown as earlier turns of the conversation."""
    wording: dict[str, str] = Field(default_factory=lambda: {"category": "{}", "brand": "{}", "kind": "{}"})
    """With a closed vocabulary: how a phrase names what titles have in common, by what that is: a category or genre, a
    brand, a decade, a kind of thing (`inkjet printers`), a series (`Star Trek`). `{} movies`, for example. What is left
    out is not named alone."""

    def content(self, *, closed: bool) -> dict[str, Any]:
        """What determines the prompts, for keys: without a closed vocabulary the wording does not count."""
        return self.model_dump(mode="json", exclude=set() if closed else {"wording"})

    @field_validator("wording")
    @classmethod
    def _patterns(cls, wording: dict[str, str]) -> dict[str, str]:
        for kind, pattern in wording.items():
            if kind not in _NAMED or pattern.count("{}") != 1:
                raise ValueError(f"{kind[:40]!r} needs one {{}} in its pattern, and is one of {', '.join(_NAMED)}")
        return wording

    def example_phrases(self) -> frozenset[str]:
        """The interests of the examples, case-folded. A reply that repeats one does not describe the user."""
        return frozenset(entry.interest.casefold() for example in self.examples for entry in example.interests)

    def example_evidence(self) -> list[list[list[int]]]:
        """The title numbers of each example's interests. A reply with exactly these has copied them."""
        return [[list(entry.items) for entry in example.interests] for example in self.examples]


def load_template(name: str, folder: Path) -> Template:
    """A built-in template by name, or a TOML file relative to `folder`. Raises SettingError."""
    return read_template(Template, name, folder, field="prompt.template", built_in="templates")


def numbered(titles: Sequence[str]) -> str:
    """One title per line, numbered from 1; evidence refers to these numbers."""
    return "\n".join(f"{number}. {title}" for number, title in enumerate(titles, start=1))


def messages(template: Template, titles: Sequence[str], phrases: Sequence[str] = ()) -> list[Message]:
    """The conversation for one user. All but its last message are the same for every user, so the engine's prefix cache
    holds them. With a closed vocabulary, the `phrases` offered follow the titles; those of the examples are the
    interests of all examples."""
    conversation = [{"role": "system", "content": template.system.strip()}]
    in_examples = sorted(entry.interest for example in template.examples for entry in example.interests)
    for example in template.examples:
        answer = [{"interest": entry.interest, "items": list(entry.items)} for entry in example.interests]
        conversation.append({"role": "user", "content": _turn(example.titles, in_examples if phrases else ())})
        conversation.append({"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)})
    return [*conversation, {"role": "user", "content": _turn(titles, phrases)}]


def _turn(titles: Sequence[str], phrases: Sequence[str]) -> str:
    return f"{numbered(titles)}\n\nChoose from: {'; '.join(phrases)}" if phrases else numbered(titles)


class PromptWriter:
    """Renders the users' prompts for one model. Titles are data: none becomes a marker of the chat format."""

    def __init__(self, template: Template, renderer: Renderer) -> None:
        self._template, self._renderer = template, renderer
        self._expected: dict[tuple[int, bool], list[str]] = {}

    def offerable(self, phrase: str) -> bool:
        """False for a phrase that the model might read as a marker."""
        return phrase.isprintable() and not is_marker(phrase) and self._renderer.as_data(phrase) == phrase

    def write(self, titles: Sequence[str], phrases: Sequence[str] = ()) -> str:
        """The prompt, with the `phrases` offered, if any. Raises DataError if it has other markers than with harmless
        titles. That only happens if a tokenizer reads in the prompt a marker that it does not read in the title."""
        clean = [self._renderer.as_data(" ".join(title.split())) for title in titles]
        prompt = self._render(clean, phrases)
        if self._renderer.markers(prompt) != self._markers_of(len(titles), bool(phrases)):
            one = self._markers_of(1, False)
            unsafe = [title for title in clean if self._renderer.markers(self._render([title])) != one]
            problem = f"title {(unsafe or clean)[0][:100]!r} holds a special token of the LLM"
            raise DataError("dataset.columns.title", problem, "change that title, or leave it empty")
        return prompt

    def _render(self, titles: Sequence[str], phrases: Sequence[str] = ()) -> str:
        return self._renderer.render(messages(self._template, titles, phrases))

    def _markers_of(self, count: int, closed: bool) -> list[str]:
        if (count, closed) not in self._expected:
            prompt = self._render(["x"] * count, ["x"] if closed else ())
            self._expected[count, closed] = self._renderer.markers(prompt)
        return self._expected[count, closed]


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
