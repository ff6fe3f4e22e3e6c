"""Ask an LLM about typical users: only what was never answered, chunk by chunk, with retries (METHOD, stage one, 5)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import pyarrow as pa

from eimf import schema
from eimf.esim.parse import Parsed

Row = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One prompt, as rendered for the model. `seed` draws its own stream of random numbers for this attempt."""

    key: str
    prompt: str
    seed: int


@dataclass(frozen=True)
class Reply:
    """The engine's answer to a request. `finish_reason` is `stop`, or `length` if `llm.max_tokens` cut it."""

    key: str
    text: str
    prompt_tokens: int
    reply_tokens: int
    finish_reason: str


class Generator(Protocol):
    """An LLM behind one interface: vLLM, recorded replies, or the fake."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        """Replies as they finish, in any order; one for each request."""
        ...

    def close(self) -> None:
        """Free what the model holds; nothing is generated after it."""


class Renderer(Protocol):
    """Turns messages into the exact text that the model reads, its chat template applied."""

    def render(self, messages: Sequence[Mapping[str, str]]) -> str: ...

    def as_data(self, text: str) -> str:
        """`text` with whatever the model or its chat template would read as a marker broken by blanks."""
        ...

    def markers(self, prompt: str) -> list[str]:
        """Every marker that the model reads in a rendered prompt, in order: special tokens, and what the chat template
        writes as plain text."""
        ...


class Replies:
    """The attempts at each request so far."""

    def __init__(self, known: pa.Table, readable: Callable[[str, str], bool], retries: int) -> None:
        """`known` is `schema.REPLIES`; `readable(key, reply)` says whether a reply yields an interest. Attempts of
        a run that had more retries do not count."""
        self._readable, self._retries = readable, retries
        self._last: dict[str, Row] = {}
        for row in known.to_pylist():
            if row[schema.ATTEMPT] <= retries:
                self.add(row)

    def add(self, row: Row) -> None:
        """Note one attempt; a later one replaces an earlier one."""
        last = self._last.get(row[schema.REQUEST_KEY])
        if last is None or row[schema.ATTEMPT] > last[schema.ATTEMPT]:
            self._last[row[schema.REQUEST_KEY]] = row

    def last(self, key: str) -> Row | None:
        return self._last.get(key)

    def next_attempt(self, key: str) -> int | None:
        """Number of the attempt that is due, or None where the request is answered or its retries are used up."""
        row = self._last.get(key)
        if row is None:
            return 0
        done = row[schema.ATTEMPT] >= self._retries or self._readable(key, row[schema.REPLY])
        return None if done else row[schema.ATTEMPT] + 1


def ask(
    generator: Callable[[], Generator],
    prompts: Mapping[str, str],
    replies: Replies,
    *,
    chunk: int,
    save: Callable[[list[Row]], None],
    on_progress: Callable[[int], None],
) -> int:
    """Ask until every request is answered or out of retries; returns how many requests were sent.

    `prompts` maps request keys to rendered prompts. `generator` is called, and so the model loaded, only when
    there is something to ask. Every `chunk` finished replies are handed to `save` before the next are waited for.
    """
    if not (due := _due(prompts, replies)):
        return 0
    sent = 0
    with closing(generator()) as engine:
        while due:
            attempts = {key: replies.next_attempt(key) or 0 for key in due}
            answers = engine.generate([Request(key, prompts[key], request_seed(key, attempts[key])) for key in due])
            while batch := list(islice(answers, chunk)):
                rows = [_row(reply, attempts[reply.key]) for reply in batch]
                save(rows)
                for row in rows:
                    replies.add(row)
                on_progress(len(rows))
            sent += len(due)
            due = _due(prompts, replies)
    return sent


def _due(prompts: Mapping[str, str], replies: Replies) -> list[str]:
    return [key for key in prompts if replies.next_attempt(key) is not None]


def _row(reply: Reply, attempt: int) -> Row:
    return {
        schema.REQUEST_KEY: reply.key,
        schema.ATTEMPT: attempt,
        schema.REPLY: reply.text,
        schema.PROMPT_TOKENS: reply.prompt_tokens,
        schema.REPLY_TOKENS: reply.reply_tokens,
        schema.FINISH_REASON: reply.finish_reason,
    }


def request_seed(key: str, attempt: int) -> int:
    """31-bit seed of one attempt: from the request's key, which holds the recipe's seed, so no two users share a
    stream."""
    return (int(key[:8], 16) + attempt) % (1 << 31)


def interests_table(requests: pa.Table, replies: Replies, parse: Callable[[str, str], Parsed]) -> pa.Table:
    """The last attempt at each request, parsed, `schema.INTERESTS_TABLE`; malformed replies are rows with their
    reason."""
    rows = []
    for request in requests.select([schema.REQUEST_KEY, schema.USER, schema.HISTORY]).to_pylist():
        key, history = request[schema.REQUEST_KEY], request[schema.HISTORY]
        last = replies.last(key)
        assert last is not None, "every request was asked"
        parsed = parse(key, last[schema.REPLY])
        rows.append(
            {
                schema.REQUEST_KEY: key,
                schema.USER: request[schema.USER],
                schema.ATTEMPT: last[schema.ATTEMPT],
                schema.REPLY: last[schema.REPLY],
                schema.STATUS: _status(parsed),
                schema.REASON: _reason(parsed, last[schema.FINISH_REASON]),
                schema.PROMPT_TOKENS: last[schema.PROMPT_TOKENS],
                schema.REPLY_TOKENS: last[schema.REPLY_TOKENS],
                schema.INTERESTS: parsed.interests,
                schema.EVIDENCE: [[history[number - 1] for number in numbers] for numbers in parsed.evidence],
            }
        )
    return pa.Table.from_pylist(rows, schema=schema.INTERESTS_TABLE)


def _status(parsed: Parsed) -> str:
    """A list that breaks off and has whole entries is an answer: asked again it would most likely be cut again."""
    if not parsed.interests:
        return "malformed"
    return "ok" if parsed.whole else "truncated"


def _reason(parsed: Parsed, finish_reason: str | None) -> str | None:
    cut = parsed.reason is not None and finish_reason == "length"
    return f"cut by llm.max_tokens ({parsed.reason})" if cut else parsed.reason
