"""The chat template and the tokenizer of an LLM: from messages to the exact text, and from the text to its tokens.

No Python code of a model directory is ever run.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from eimf.errors import MissingError, ModelError, SettingError
from eimf.esim.markers import Markers, is_marker, words_between

_DAY = "01 Jan 2026"
_CONTENTS = ("zqxsystem", "zqxuser", "zqxassistant", "zqxlast")
"""Contents that no chat template contains."""


def wants_code(model: Path) -> str | None:
    """Names of the files of a model directory that ask for its own Python code (`auto_map`), or None."""
    names = []
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        with suppress(OSError, ValueError, RecursionError):
            content = json.loads((model / name).read_text("utf-8"))
            names += [name] if isinstance(content, dict) and content.get("auto_map") else []
    return ", ".join(names) or None


def cannot_load(model: Path, field: str, error: Exception, problem: str, hint: str) -> ModelError:
    """The error of a model that does not load: as given, or that it needs its own Python code, if that is the reason.
    (Most models that bring code load without it.)"""
    files = wants_code(model)
    if files and "trust_remote_code" in str(error):
        problem = f"{model} needs its own Python code (auto_map in {files}), which EIMF does not run"
        return ModelError(field, problem, "give a model that transformers and vLLM serve without such code")
    return ModelError(field, f"{model} {problem}", hint)


def check_prompt_length(longest: int, most: int) -> None:
    """Raises SettingError if the `longest` prompt has more than `most` tokens, which is `llm.max_prompt_tokens`."""
    if longest > most:
        problem = f"{most}, but a prompt has {longest} tokens"
        raise SettingError("llm.max_prompt_tokens", problem, "raise it, or lower prompt.max_titles")


class ChatRenderer:
    """The model's own chat template, applied by its tokenizer."""

    def __init__(self, model: Path) -> None:
        """Raises MissingError without transformers, ModelError if there is no tokenizer or chat template."""
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            hint = "run `make esim`, or install the esim extra (esim-cpu without a GPU)"
            raise MissingError("transformers", f"not usable here ({error})", hint) from error
        self.model = model
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, ImportError, AttributeError, KeyError, TypeError) as error:
            hint = "give the whole model directory"
            raise cannot_load(model, "llm.model", error, "has no tokenizer that loads", hint) from error
        if not self._tokenizer.chat_template:
            raise ModelError("llm.model", f"{model} has no chat template", "give an instruction-tuned model")

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The exact text that the model reads.

        If a template refuses a system message, it goes before the first user message. A template that writes the date
        gets a fixed one: otherwise every prompt, and so every request key, would be new each day."""
        from jinja2 import TemplateError

        fails = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
        system, first, *rest = [dict(message) for message in messages]
        try:
            return self._apply([system, first, *rest])
        except fails:
            first["content"] = f"{system['content']}\n\n{first['content']}"
        try:
            return self._apply([first, *rest])
        except fails as error:
            problem = f"the chat template of {self.model} fails ({type(error).__name__}: {str(error)[:100]})"
            raise ModelError("llm.model", problem, "give a model that takes user and assistant turns") from error

    def tokens(self, prompt: str) -> list[int]:
        """Token ids of a rendered prompt. The template has written every special token, so none is added."""
        return list(self._tokenizer.encode(prompt, add_special_tokens=False))

    def count_tokens(self, prompt: str) -> int:
        """How many tokens a rendered prompt has."""
        return len(self.tokens(prompt))

    def as_data(self, text: str) -> str:
        """`text` with a blank inside every marker. If the tokenizer still reads one (it may rewrite a text before it
        looks for special tokens), only letters and digits are kept."""
        text = self._all_markers.escape(text)
        if self._special_ids.isdisjoint(self.tokens(text)):
            return text
        return self._all_markers.escape(" ".join("".join(c if c.isalnum() else " " for c in text).split()))

    def markers(self, prompt: str) -> list[str]:
        """Every special token that the model reads in `prompt`, in order, then every marker in plain text."""
        special = [str(token) for token in self.tokens(prompt) if token in self._special_ids]
        return special + self._text_markers.find_all(prompt)

    @cached_property
    def _special_tokens(self) -> dict[int, str]:
        """Id and text of every special token, and of every other added token that looks like a marker."""
        added = {number: token.content for number, token in self._tokenizer.added_tokens_decoder.items()}
        special = set(self._tokenizer.all_special_ids)
        flagged = {number for number, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        return {number: text for number, text in added.items() if number in special | flagged or is_marker(text)}

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        return frozenset(self._special_tokens) | frozenset(self._tokenizer.all_special_ids)

    @cached_property
    def _text_markers(self) -> Markers:
        """Markers that the chat template writes as plain text between the turns: `[INST]`, `USER:`."""
        roles = ("system", "user", "assistant", "user")
        messages = [{"role": role, "content": text} for role, text in zip(roles, _CONTENTS, strict=True)]
        return Markers(words_between(self.render(messages), [*_CONTENTS, *self._special_tokens.values()]))

    @cached_property
    def _all_markers(self) -> Markers:
        return Markers([*self._special_tokens.values(), *self._tokenizer.all_special_tokens, *self._text_markers.texts])

    def _apply(self, messages: list[dict[str, str]]) -> str:
        text: Any = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, date_string=_DAY, strftime_now=lambda _: _DAY
        )
        return str(text)
