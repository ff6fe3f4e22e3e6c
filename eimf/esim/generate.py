"""Generate the replies that are missing, chunk by chunk, with retries (METHOD, stage one, 5)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa

from eimf import schema
from eimf.errors import UserError
from eimf.esim.parse import Parsed

Row = dict[str, Any]
_BATCH = 1 << 12
"""Rows of the reply store that are Python objects at a time."""
_AT_A_TIME = 1 << 16
"""Requests that an engine gets at a time: it may hold the tokens of all of them."""


@dataclass(frozen=True)
class Request:
    """One prompt, as rendered for the model, and the JSON schema of its reply; `seed` starts this attempt's own random
    stream."""

    key: str
    prompt: str
    seed: int
    json_schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """The reply of an engine to a request. `finish_reason` is `stop`, or `length` if `llm.max_tokens` cut it."""

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
        """Free what the model holds. Call nothing after it."""


class Renderer(Protocol):
    """Turns messages into the exact text that the model reads, its chat template applied."""

    def render(self, messages: Sequence[Mapping[str, str]]) -> str: ...

    def as_data(self, text: str) -> str:
        """`text` with a blank inside everything that the model or its chat template would read as a marker."""
        ...

    def count_tokens(self, prompt: str) -> int:
        """How many tokens a rendered prompt has."""
        ...

    def markers(self, prompt: str) -> list[str]:
        """Every marker that the model reads in a rendered prompt, in order: special tokens, and what the chat template
        writes as plain text."""
        ...


class Asked(Protocol):
    """What is asked: the rendered prompt, and the JSON schema of the reply."""

    @property
    def prompt(self) -> str: ...

    @property
    def json_schema(self) -> Mapping[str, Any]: ...


class Answer(Protocol):
    """A parsed reply. `reason` says why it cannot be used, and is None if it can; `whole` is False if it breaks off."""

    @property
    def reason(self) -> str | None: ...

    @property
    def whole(self) -> bool: ...


AskedT = TypeVar("AskedT", bound=Asked)
AnswerT = TypeVar("AnswerT", bound=Answer)


@dataclass(frozen=True)
class Question:
    """What is asked about one history: the rendered prompt, the number of its titles, the JSON schema of the reply,
    and, with a closed vocabulary, the numbers of the titles that carry each phrase offered."""

    prompt: str
    num_titles: int
    json_schema: Mapping[str, Any] = field(default_factory=dict)
    offered: Mapping[str, Sequence[int]] | None = None


@dataclass(frozen=True)
class Attempt(Generic[AnswerT]):
    """One attempt at a request: its row in the reply store (`schema.REPLIES`), and its reply, parsed; `limit` is the
    setting that limits the tokens of a reply."""

    row: Row
    parsed: AnswerT
    limit: str

    @property
    def is_valid(self) -> bool:
        """True if the reply can be used."""
        return self.parsed.reason is None

    @property
    def status(self) -> str:
        """ok, malformed, or truncated: a reply that breaks off, and can be used up to the break. It counts as an
        answer, because the same model would most likely be cut again."""
        if not self.is_valid:
            return "malformed"
        return "ok" if self.parsed.whole else "truncated"

    @property
    def reason(self) -> str | None:
        """Why the reply cannot be used; None if it can."""
        cut = not self.is_valid and self.row[schema.FINISH_REASON] == "length"
        return f"cut by {self.limit} ({self.parsed.reason})" if cut else self.parsed.reason


class Replies(Generic[AskedT, AnswerT]):
    """The last attempt at each request of a run. Each reply is parsed once."""

    def __init__(
        self,
        known: pa.Table,
        questions: Mapping[str, AskedT],
        parse: Callable[[str, AskedT], AnswerT],
        retries: int,
        limit: str = "llm.max_tokens",
    ) -> None:
        """`questions` are those of this run, by request key; `parse(reply, question)` reads a reply. Of `known` rows
        (`schema.REPLIES`) those of other requests do not count, nor do attempts beyond `retries`, which a run with more
        retries sent. `limit` is the setting that limits the tokens of a reply, for messages."""
        self._questions, self._parse, self._retries, self._limit = questions, parse, retries, limit
        self._last: dict[str, Attempt[AnswerT]] = {}
        for batch in known.to_batches(_BATCH):
            for row in batch.to_pylist():
                if row[schema.REQUEST_KEY] in questions and row[schema.ATTEMPT] <= retries:
                    self.add(row)

    def add(self, row: Row) -> None:
        """Add one attempt; a later one replaces an earlier one."""
        key = row[schema.REQUEST_KEY]
        last = self._last.get(key)
        if last is None or row[schema.ATTEMPT] > last.row[schema.ATTEMPT]:
            self._last[key] = Attempt(row, self._parse(row[schema.REPLY], self._questions[key]), self._limit)

    def last(self, key: str) -> Attempt[AnswerT]:
        """The last attempt at a request. Raises KeyError if there is none."""
        return self._last[key]

    def next_attempt(self, key: str) -> int | None:
        """Number of the next attempt, or None if the request has a valid reply or no retries left."""
        last = self._last.get(key)
        if last is None:
            return 0
        number = int(last.row[schema.ATTEMPT])
        return None if last.is_valid or number >= self._retries else number + 1

    def pending(self) -> dict[str, int]:
        """Every request to be sent, by key, with the number of its attempt."""
        attempts = ((key, self.next_attempt(key)) for key in self._questions)
        return {key: attempt for key, attempt in attempts if attempt is not None}


def generate_missing(
    generator: Callable[[], Generator],
    questions: Mapping[str, AskedT],
    replies: Replies[AskedT, AnswerT],
    *,
    chunk_size: int,
    save: Callable[[list[Row]], None],
    on_progress: Callable[[int], None],
) -> int:
    """Generate until every request has a valid reply or no retries left. Returns how many requests were sent.

    `questions` are by request key. `generator` loads the model; it is only called if a request is
    pending, and gets `_AT_A_TIME` requests at a time. `save` gets every `chunk_size` finished replies before the next
    ones are waited for.
    """
    if not (pending := replies.pending()):
        return 0
    num_sent = 0
    with closing(generator()) as engine:
        while pending:
            attempts = iter(pending.items())
            while requests := [_request(key, questions[key], attempt) for key, attempt in islice(attempts, _AT_A_TIME)]:
                for chunk in _chunks(engine.generate(requests), chunk_size):
                    rows = [reply_row(reply, pending[reply.key]) for reply in chunk]
                    save(rows)
                    for row in rows:
                        replies.add(row)
                    on_progress(len(rows))
            num_sent += len(pending)
            pending = replies.pending()
    return num_sent


def _chunks(replies: Iterable[Reply], size: int) -> Iterator[list[Reply]]:
    """`size` replies at a time; what had finished when the engine failed or was interrupted is a last chunk."""
    chunk: list[Reply] = []
    try:
        for reply in replies:
            chunk.append(reply)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except (UserError, KeyboardInterrupt):
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def _request(key: str, question: Asked, attempt: int) -> Request:
    return Request(key, question.prompt, request_seed(key, attempt), question.json_schema)


def reply_row(reply: Reply, attempt: int) -> Row:
    """One row of `schema.REPLIES`."""
    return {
        schema.REQUEST_KEY: reply.key,
        schema.ATTEMPT: attempt,
        schema.REPLY: reply.text,
        schema.PROMPT_TOKENS: reply.prompt_tokens,
        schema.REPLY_TOKENS: reply.reply_tokens,
        schema.FINISH_REASON: reply.finish_reason,
    }


def request_seed(key: str, attempt: int) -> int:
    """31-bit seed of one attempt. It comes from the request's key, which contains the recipe's seed, so users do not
    share a stream."""
    return (int(key[:8], 16) + attempt) % (1 << 31)


def replies_table(
    requests: pa.Table, replies: Replies[AskedT, AnswerT], columns: pa.Schema = schema.PARSED_REPLIES
) -> pa.Table:
    """A table with these `columns`: the last attempt at each of the `requests`, malformed replies with their reason."""
    rows = []
    for request in requests.select([name for name in columns.names if name in requests.column_names]).to_pylist():
        last = replies.last(request[schema.REQUEST_KEY])
        rows.append({**last.row, **request, schema.STATUS: last.status, schema.REASON: last.reason})
    return pa.Table.from_pylist(rows, schema=columns)


def interests_table(requests: pa.Table, replies: Replies[Question, Parsed]) -> pa.Table:
    """`schema.INTERESTS`: every interest in the last replies to the `requests`, numbered in their order."""
    rows: list[Row] = []
    for request in requests.select([schema.REQUEST_KEY, schema.USER, schema.HISTORY]).to_pylist():
        history, parsed = request[schema.HISTORY], replies.last(request[schema.REQUEST_KEY]).parsed
        for interest, numbers in zip(parsed.interests, parsed.evidence, strict=True):
            evidence = [history[number - 1] for number in numbers]  # titles count from 1
            values = (len(rows), request[schema.USER], interest, evidence)
            rows.append(dict(zip(schema.INTERESTS.names, values, strict=True)))
    return pa.Table.from_pylist(rows, schema=schema.INTERESTS)
