"""Counts of the replies, for the manifest and the lines of stages 1b and 7."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from eimf import schema
from eimf.errors import DataError
from eimf.esim.parse import Parsed
from eimf.esim.prompt import Template


def check_any(
    replies: pa.Table,
    stage: str = "interests",
    wanted: str = "interest",
    template: str = "prompt.template",
    limit: str = "llm.max_tokens",
) -> None:
    """Raise DataError with the most frequent reason if no reply (`schema.PARSED_REPLIES`) of this `stage` holds what is
    `wanted`: there would be nothing to train against. `template` and `limit` are the settings to change."""
    reasons = Counter(replies[schema.REASON].to_pylist())
    if replies.num_rows and reasons[None] == 0:
        reason, count = reasons.most_common(1)[0]
        hint = f"raise {limit}" if reason.startswith("cut by") else f"use another llm.model or {template}"
        problem = f"no reply of the LLM held a usable {wanted} ({count} of {replies.num_rows}: {reason})"
        raise DataError(stage, problem, hint)


def counts(replies: pa.Table, interests: pa.Table) -> dict[str, int]:
    """Users by the status of their reply, interests, and tokens; of `schema.PARSED_REPLIES` and `schema.INTERESTS`."""
    by_status, tokens = status_counts(replies), token_counts(replies)
    return {"users": replies.num_rows, **by_status, "interests": interests.num_rows, **tokens}


def status_counts(replies: pa.Table) -> dict[str, int]:
    """Replies that are malformed, and those that break off."""
    status = replies[schema.STATUS].to_pylist()
    return {"malformed": status.count("malformed"), "truncated": status.count("truncated")}


def token_counts(replies: pa.Table) -> dict[str, int]:
    """Tokens of all prompts and replies."""
    return {
        "prompt_tokens": pc.sum(replies[schema.PROMPT_TOKENS]).as_py() or 0,
        "reply_tokens": pc.sum(replies[schema.REPLY_TOKENS]).as_py() or 0,
    }


def copied_evidence(replies: Iterable[Parsed], template: Template) -> int:
    """Number of replies whose evidence is, number for number, that of an example in the prompt."""
    examples = template.example_evidence()
    return sum(parsed.evidence in examples for parsed in replies)
