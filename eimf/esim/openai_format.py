"""Requests and replies in the format of OpenAI's interface: what is sent over HTTP, and what batch files hold."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, Field

from eimf.esim.chat import check_prompt_length
from eimf.esim.generate import Reply, Request

Body = dict[str, Any]
_NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""Sampling parameters that a vLLM server would otherwise take from the model's generation_config.json."""


class PromptForm(Protocol):
    """How a prompt is written into the body of a request."""

    path: str
    """Of the interface, after the base URL."""

    def content(self, prompt: str) -> Body: ...


class CheckedForm(PromptForm, Protocol):
    """One that also knows how long a prompt may be."""

    def check(self, prompts: Sequence[str]) -> None:
        """Raises SettingError for a prompt that is too long."""


class Rendered:
    """Prompts that the model's own chat template has rendered: sent as the token ids that the local engine reads."""

    path = "/completions"

    def __init__(self, tokens: Callable[[str], list[int]], max_prompt_tokens: int) -> None:
        """`tokens` are those of a prompt, `max_prompt_tokens` the setting of that name."""
        self._tokens, self._most = tokens, max_prompt_tokens

    def check(self, prompts: Sequence[str]) -> None:
        check_prompt_length(max((len(self._tokens(prompt)) for prompt in prompts), default=0), self._most)

    def content(self, prompt: str) -> Body:
        return {"prompt": self._tokens(prompt)}


class Messages:
    """Messages as JSON (`MessagesRenderer`): the server renders them, and only it can count their tokens."""

    path = "/chat/completions"

    def check(self, prompts: Sequence[str]) -> None:
        """Nothing to check."""

    def content(self, prompt: str) -> Body:
        return {"messages": json.loads(prompt)}


@dataclass(frozen=True)
class BodyWriter:
    """Writes the bodies of requests to one model. `sampling` has temperature, top_p and max_tokens; `is_vllm` says
    whether the server knows vLLM's own fields."""

    model: str
    form: PromptForm
    is_vllm: bool
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def body(self, request: Request, *, structured: bool = True) -> Body:
        """The body of a request; `structured` asks the server to hold the reply to the request's JSON schema."""
        structure = self._structure(request.json_schema) if structured and request.json_schema else {}
        neutral = _NEUTRAL if self.is_vllm else {}
        content = self.form.content(request.prompt)
        return {"model": self.model, **content, **self.sampling, "seed": request.seed, **neutral, **structure}

    def _structure(self, json_schema: Mapping[str, Any]) -> Body:
        if self.is_vllm:  # exactly what the local engine asks for
            return {"structured_outputs": {"json": dict(json_schema), "disable_any_whitespace": True}}
        named = {"name": "reply", "schema": dict(json_schema)}
        return {"response_format": {"type": "json_schema", "json_schema": named}}


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: Annotated[int, Field(ge=0, lt=2**31)] = 0
    completion_tokens: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Answer(BaseModel):
    """The body of a server's answer to a request of either form."""

    model: str = ""
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None

    def reply(self, key: str) -> Reply:
        """The reply to the request `key`. A refusal has no text; tokens that the server does not count are 0."""
        choice, usage = self.choices[0], self.usage or _Usage()
        text = choice.text if choice.message is None else choice.message.content
        reason = "length" if choice.finish_reason == "length" else "stop"
        return Reply(key, text or "", usage.prompt_tokens, usage.completion_tokens, reason)


class _Card(BaseModel):
    id: str
    owned_by: str = ""

    @property
    def is_vllm(self) -> bool:
        return self.owned_by == "vllm"


class ServedModels(BaseModel):
    """The body of `GET /models`."""

    data: list[_Card]
