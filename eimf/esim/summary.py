"""Counts of the replies, for the manifest and the line of stage 7."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from eimf import schema
from eimf.errors import DataError
from eimf.esim.parse import Parsed
from eimf.esim.prompt import Template


def check_any(replies: pa.Table) -> None:
    """Raise DataError with the most frequent reason if no reply (`schema.PARSED_REPLIES`) holds an interest: there
    would be nothing to train against."""
    reasons = Counter(replies[schema.REASON].to_pylist())
    if replies.num_rows and reasons[None] == 0:
        reason, count = reasons.most_common(1)[0]
        hint = "raise llm.max_tokens" if reason.startswith("cut by") else "use another llm.model or prompt.template"
        problem = f"no reply of the LLM held a usable interest ({count} of {replies.num_rows}: {reason})"
        raise DataError("interests", problem, hint)


def counts(replies: pa.Table, interests: pa.Table) -> dict[str, int]:
    """Users by the status of their reply, interests, and tokens; of `schema.PARSED_REPLIES` and `schema.INTERESTS`."""
    status = replies[schema.STATUS].to_pylist()
    return {
        "users": replies.num_rows,
        "malformed": status.count("malformed"),
        "truncated": status.count("truncated"),
        "interests": interests.num_rows,
        "prompt_tokens": pc.sum(replies[schema.PROMPT_TOKENS]).as_py() or 0,
        "reply_tokens": pc.sum(replies[schema.REPLY_TOKENS]).as_py() or 0,
    }


def copied_evidence(replies: Iterable[Parsed], template: Template) -> int:
    """Number of replies whose evidence is, number for number, that of an example in the prompt."""
    examples = template.example_evidence()
    return sum(parsed.evidence in examples for parsed in replies)
