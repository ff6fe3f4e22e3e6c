"""The prompt for what an LLM knows about one item (METHOD, item knowledge)."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from eimf.errors import DataError
from eimf.esim.generate import Renderer
from eimf.esim.template_file import read_template

Message = dict[str, str]
ITEM, WORDS = "{item}", "{words}"
"""Placeholders of a template: the item's text, and the most words of an answer."""


class _Example(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    item: str = Field(min_length=1)
    knowledge: str = Field(min_length=1)


class ItemTemplate(BaseModel):
    """A prompt template: the task, the question about one item, and examples with their answers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: int = Field(ge=0, lt=2**31)
    """Counted up by the author with every change."""
    system: str
    """The task, the same for every item. `{words}` in it stands for the most words of an answer."""
    question: str = ITEM
    """What is asked about an item; `{item}` in it stands for the item's text."""
    examples: tuple[_Example, ...] = ()
    """Items with their answers, shown as earlier turns of the conversation."""

    @field_validator("question")
    @classmethod
    def _names_the_item(cls, question: str) -> str:
        if question.count(ITEM) != 1:
            raise ValueError(f"it has {question.count(ITEM)} times {ITEM}, which stands for the item; write it once")
        return question

    def content(self) -> dict[str, Any]:
        """What determines the prompts, for keys."""
        return self.model_dump(mode="json")

    def example_answers(self) -> frozenset[str]:
        """The answers of the examples, case-folded. A reply that repeats one is not about its item."""
        return frozenset(example.knowledge.casefold() for example in self.examples)


def load_item_template(name: str, folder: Path) -> ItemTemplate:
    """A built-in template by name, or a TOML file relative to `folder`. Raises SettingError."""
    return read_template(ItemTemplate, name, folder, field="item_knowledge.template", built_in="templates/items")


def item_messages(template: ItemTemplate, item: str, max_words: int) -> list[Message]:
    """The conversation about one item. All but its last message are the same for every item, so the engine's prefix
    cache holds them."""
    task = template.system.strip().replace(WORDS, str(max_words))
    conversation = [{"role": "system", "content": task}]
    for example in template.examples:
        answer = json.dumps({"knowledge": example.knowledge}, ensure_ascii=False)
        conversation.append({"role": "user", "content": template.question.replace(ITEM, example.item)})
        conversation.append({"role": "assistant", "content": answer})
    return [*conversation, {"role": "user", "content": template.question.replace(ITEM, item)}]


class ItemPromptWriter:
    """Renders the items' prompts for one model. Their texts are data: none becomes a marker of the chat format."""

    def __init__(self, template: ItemTemplate, renderer: Renderer, max_words: int) -> None:
        self._template, self._renderer, self._max_words = template, renderer, max_words
        self._expected = renderer.markers(self._render("x"))

    def write(self, item: str) -> str:
        """The prompt. Raises DataError if it has other markers than with a harmless text, which only happens if a
        tokenizer reads in the prompt a marker that it does not read in the text."""
        clean = self._renderer.as_data(" ".join(item.split()))
        prompt = self._render(clean)
        if self._renderer.markers(prompt) != self._expected:
            problem = f"text {clean[:100]!r} holds a special token of the LLM"
            raise DataError("text.columns", problem, "change that text, or leave it empty")
        return prompt

    def _render(self, item: str) -> str:
        return self._renderer.render(item_messages(self._template, item, self._max_words))
