"""Counts of the replies, for the manifest and the line of stage 7."""

from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from eimf import schema
from eimf.errors import DataError
from eimf.esim.parse import Parsed
from eimf.esim.prompt import Template


def check_any(interests: pa.Table) -> None:
    """Raises DataError if no reply is of use, with the most frequent reason: there is nothing to train against."""
    reasons = Counter(interests[schema.REASON].to_pylist())
    if interests.num_rows and reasons[None] == 0:
        reason, count = reasons.most_common(1)[0]
        hint = "raise llm.max_tokens" if reason.startswith("cut by") else "use another llm.model or prompt.template"
        problem = f"no reply of the LLM held a usable interest ({count} of {interests.num_rows}: {reason})"
        raise DataError("interests", problem, hint)


def counts(interests: pa.Table) -> dict[str, int]:
    """Users by status, interests, and the tokens of the last attempts; of `schema.INTERESTS_TABLE`."""
    status = interests[schema.STATUS].to_pylist()
    return {
        "users": interests.num_rows,
        "malformed": status.count("malformed"),
        "truncated": status.count("truncated"),
        "interests": pc.sum(pc.list_value_length(interests[schema.INTERESTS])).as_py() or 0,
        "prompt_tokens": pc.sum(interests[schema.PROMPT_TOKENS]).as_py() or 0,
        "reply_tokens": pc.sum(interests[schema.REPLY_TOKENS]).as_py() or 0,
    }


def copied_evidence(interests: pa.Table, parse: Callable[[str, str], Parsed], template: Template) -> int:
    """Replies whose evidence is that of one of the prompt's examples, number for number."""
    examples = template.example_evidence()
    rows = interests.select([schema.REQUEST_KEY, schema.REPLY]).to_pylist()
    return sum(parse(row[schema.REQUEST_KEY], row[schema.REPLY]).evidence in examples for row in rows)
