"""Stage 7: what the LLM replies."""

from collections.abc import Callable, Set
from functools import partial
from typing import TYPE_CHECKING

from eimf import schema
from eimf.config import LLMSettings
from eimf.esim.prompt import Template
from eimf.store.artifact import Staging
from pipeline.backends.engines import Engines
from pipeline.console import info
from pipeline.stages.asking import Asking
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    import pyarrow as pa

    from eimf.esim.generate import Question
    from eimf.esim.parse import Parsed


def interests_stage(settings: LLMSettings, template: Template, engines: Engines, asking: Asking) -> Stage:
    """Stage 7: the LLM's replies and the interests in them."""
    build = partial(_build_interests, settings, template, engines, asking)
    return Stage(7, "interests", 3, ("requests",), {"retries": asking.retries}, build)


def _build_interests(
    settings: LLMSettings, template: Template, engines: Engines, asking: Asking, artifacts: Artifacts, staging: Staging
) -> Summary:
    from eimf.esim.generate import interests_table, replies_table
    from eimf.esim.summary import check_any, copied_evidence, counts

    requests = artifacts["requests"].table("requests")
    request_keys = requests[schema.REQUEST_KEY].to_pylist()
    questions, parse = questions_of(requests, settings, engines), reply_parser(settings, template)
    replies, num_sent = asking.ask(engines.generator, engines.generator_identity, questions, parse)
    parsed_replies, interests = replies_table(requests, replies), interests_table(requests, replies)
    check_any(parsed_replies)
    staging.write_table("replies", parsed_replies)
    staging.write_table("interests", interests)
    num_copied = copied_evidence((replies.last(key).parsed for key in request_keys), template)
    summary = {"llm_requests": num_sent, **counts(parsed_replies, interests), "copied_evidence": num_copied}
    _report_truncated(summary, settings.max_tokens)
    return summary


def questions_of(requests: "pa.Table", settings: LLMSettings, engines: Engines) -> "dict[str, Question]":
    """What each request asks, by its key."""
    from eimf.esim.generate import Question
    from eimf.esim.offers import Offer, offers_schema

    questions = {}
    for row in requests.to_pylist():
        reply_schema, offered = engines.json_schema, None
        if row.get(schema.OFFERS):
            offers = [Offer(o[schema.INTEREST], tuple(o[schema.NUMBERS]), o[schema.SLOT]) for o in row[schema.OFFERS]]
            reply_schema = offers_schema(offers, settings.min_interests)
            offered = {offer.interest: offer.items for offer in offers}
        question = Question(row[schema.PROMPT], len(row[schema.HISTORY]), reply_schema, offered)
        questions[row[schema.REQUEST_KEY]] = question
    return questions


def reply_parser(settings: LLMSettings, template: Template) -> "Callable[[str, Question], Parsed]":
    """What reads a reply to one of these questions."""
    return partial(_parse, template.example_phrases(), settings.max_interests)


def _parse(examples: Set[str], max_interests: int, reply: str, question: "Question") -> "Parsed":
    """Read a reply. A phrase that was offered may also be one of the prompt's examples."""
    from eimf.esim.parse import parse_reply

    known = examples if question.offered is None else frozenset[str]()
    return parse_reply(reply, question.num_titles, known, max_interests, question.offered)


def _report_truncated(summary: Summary, max_tokens: int) -> None:
    if summary["truncated"]:
        cut = f"{summary['truncated']} of {summary['users']} replies were cut by llm.max_tokens={max_tokens}"
        info(f"      {cut}: their complete entries count; a higher llm.max_tokens asks about all users again")
