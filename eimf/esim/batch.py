"""Batch files: requests as JSON lines that OpenAI's batch interface and `vllm run-batch` read, and the replies of both,
or of a plain table."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv
from pydantic import ValidationError

from eimf import schema
from eimf.errors import DataError, on_one_line
from eimf.esim.generate import Reply, Request
from eimf.esim.openai_format import Answer, Body, BodyWriter

CUSTOM_ID: Final = "custom_id"
_ID = re.compile(r"([0-9a-f]{12})-([0-9a-f]{32})-(\d{1,3})")
_AS_IT_IS = "{{ messages[0]['content'] }}"
ERROR, NO_REPLY, NO_ROW = "errors of the server", "without a reply", "lines that are no JSON object"
NAMES = (schema.REQUEST_KEY, schema.USER_ID, schema.ITEM_ID)
"""Columns of a plain table that may name a request, the first that it has."""
Row = Mapping[str, Any]


class RenderedMessages:
    """Prompts that are rendered already, for `vllm run-batch`, which knows messages only: the one message is the
    prompt, with a chat template that writes it as it is (`--trust-request-chat-template`)."""

    path = "/chat/completions"

    def content(self, prompt: str) -> Body:
        return {
            "messages": [{"role": "user", "content": prompt}],
            "chat_template": _AS_IT_IS,
            "add_generation_prompt": False,
            "add_special_tokens": False,
        }


@dataclass(frozen=True)
class Name:
    """What identifies a request in a batch file: the beginnings of its generator's digest and of its key, and the
    attempt."""

    generator: str
    key: str
    attempt: int

    @classmethod
    def of(cls, generator: str, key: str, attempt: int) -> "Name":
        """`generator` is the whole digest of the generator's identity, `key` the whole request key."""
        return cls(generator[:12], key[:32], attempt)

    @classmethod
    def read(cls, text: str) -> "Name | None":
        """None for a text that is no such name."""
        match = _ID.fullmatch(text)
        return cls(match[1], match[2], int(match[3])) if match else None

    def __str__(self) -> str:
        return f"{self.generator}-{self.key}-{self.attempt}"


def batch_line(name: Name, request: Request, writer: BodyWriter) -> str:
    """One line of a batch file."""
    url = f"/v1{writer.form.path}"
    return json.dumps({CUSTOM_ID: str(name), "method": "POST", "url": url, "body": writer.body(request)}) + "\n"


@dataclass(frozen=True)
class Entry:
    """One reply of a file: its `id`, which column `names` holds it (`custom_id` or one of NAMES), and the name of the
    model that wrote it, if the file says so."""

    names: str
    id: str
    reply: Reply
    model: str = ""


def read_entry(row: Row) -> Entry | str:
    """The reply in a row of a file; or why there is none: ERROR, NO_REPLY or NO_ROW."""
    if CUSTOM_ID in row:
        return _batch_entry(row)
    names = next((name for name in NAMES if row.get(name) is not None), None)
    if names is None:
        return NO_ROW
    content = row.get(schema.REPLY, {name: row[name] for name in row if name not in NAMES} or None)
    if content is None:
        return NO_REPLY
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    prompt_tokens, reply_tokens = _count(row.get(schema.PROMPT_TOKENS)), _count(row.get(schema.REPLY_TOKENS))
    reason = "length" if row.get(schema.FINISH_REASON) == "length" else "stop"
    return Entry(names, str(row[names]), Reply(str(row[names]), text, prompt_tokens, reply_tokens, reason))


def _batch_entry(row: Row) -> Entry | str:
    name, response = str(row[CUSTOM_ID]), row.get("response")
    if row.get("error") or not isinstance(response, Mapping) or response.get("status_code", 200) != 200:
        return ERROR
    try:
        answer = Answer.model_validate(response.get("body"))
    except ValidationError:
        return NO_REPLY
    return Entry(CUSTOM_ID, name, answer.reply(name), answer.model)


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def read_rows(path: Path) -> Iterator[Row | None]:
    """The rows of a file by its ending: Parquet, CSV, or else JSON lines; None for a line that is no JSON object.
    Raises DataError for a file that cannot be read."""
    readers = {".parquet": _parquet_rows, ".csv": _csv_rows}
    try:
        yield from readers.get(path.suffix.lower(), _json_rows)(path)
    except (pa.ArrowException, OSError) as error:
        hint = "give a batch file or a table with request_key and reply: .parquet, .csv or .jsonl"
        raise DataError(str(path), f"cannot be read ({on_one_line(error)})", hint) from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def _csv_rows(path: Path) -> Iterator[Row]:
    types = dict.fromkeys((*NAMES, schema.REPLY, schema.FINISH_REASON), pa.string())
    options = csv.ConvertOptions(column_types=types)
    with csv.open_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=options) as file:
        for batch in file:
            yield from batch.to_pylist()


def _json_rows(path: Path) -> Iterator[Row | None]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.strip():
                yield _json_object(line)


def _json_object(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
