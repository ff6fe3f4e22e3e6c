"""Stages 6 and 7: what the LLM is asked, and what it replies."""

from functools import cache, partial
from typing import TYPE_CHECKING

from eimf import schema
from eimf.config import LLMSettings, PromptSettings
from eimf.errors import DataError
from eimf.esim.prompt import Template
from eimf.store import keys
from eimf.store.artifact import Staging, Store
from eimf.store.replies import ReplyStore
from pipeline.backends.engines import Engines
from pipeline.console import Waiting, info, progress
from pipeline.stages.stage import Artifacts, Stage, Summary, this_process
from pipeline.stages.users import training_events

if TYPE_CHECKING:
    from eimf.esim.parse import Parsed


def requests_stage(settings: PromptSettings, template: Template, engines: Engines) -> Stage:
    """Stage 6: a rendered prompt for each typical user."""
    configuration = {
        "prompt": settings.model_dump(mode="json", exclude={"template"}),
        "template": template.model_dump(mode="json"),
        "generator": engines.generator_identity,
    }
    build = partial(_build_requests, settings, template, engines)
    return Stage(6, "requests", 3, ("dataset", "typical_users"), configuration, build)


def interests_stage(settings: LLMSettings, template: Template, engines: Engines, store: Store, chunk: int) -> Stage:
    """Stage 7: the LLM's replies and the interests in them. `store` keeps the replies, `chunk` of them at a time."""
    build = partial(_build_interests, settings, template, engines, store, chunk)
    return Stage(7, "interests", 3, ("requests",), {"retries": settings.retries}, build)


def _build_requests(
    settings: PromptSettings, template: Template, engines: Engines, artifacts: Artifacts, staging: Staging
) -> Summary:
    import pyarrow as pa

    from eimf.esim.prompt import PromptWriter, shown_history

    generator = engines.generator_identity
    writer = PromptWriter(template, engines.renderer())
    items, offsets = training_events(artifacts)
    titles = artifacts["dataset"].table("items", [schema.TITLE])[schema.TITLE].to_pylist()
    typical = artifacts["typical_users"].table("typical_users")[schema.USER].to_pylist()
    rows = []
    for user in typical:
        shown = shown_history(
            items[offsets[user] : offsets[user + 1]], titles, settings.max_titles, settings.title_chars
        )
        if shown is not None:
            prompt = writer.write(shown.titles)
            rows.append((keys.request_key(generator, prompt), user, prompt, shown.items, shown.last_position))
    if not rows:
        problem = f"no typical user of {len(typical)} has an item with a title in training"
        raise DataError("dataset.columns.title", problem, "name a column with titles: the LLM reads them")
    staging.write_table("requests", pa.table(list(map(list, zip(*rows, strict=True))), schema=schema.REQUESTS))
    return {"requests": len(rows), "without_titles": len(typical) - len(rows)}


def _build_interests(
    settings: LLMSettings, template: Template, engines: Engines, store: Store, chunk: int, artifacts: Artifacts,
    staging: Staging,
) -> Summary:  # fmt: skip
    from eimf.esim.generate import Replies, ask, interests_table
    from eimf.esim.parse import parse_reply
    from eimf.esim.summary import check_any, copied_evidence, counts

    requests = artifacts["requests"].table("requests")
    examples = template.example_phrases()
    prompts = dict(zip(requests[schema.REQUEST_KEY].to_pylist(), requests[schema.PROMPT].to_pylist(), strict=True))
    shown = dict(zip(requests[schema.REQUEST_KEY].to_pylist(), requests[schema.HISTORY].to_pylist(), strict=True))

    @cache
    def parse(key: str, reply: str) -> "Parsed":
        return parse_reply(reply, len(shown[key]), examples, settings.max_interests)

    def readable(key: str, reply: str) -> bool:
        return key in shown and parse(key, reply).reason is None

    generator = keys.digest(engines.generator_identity)
    rows = ReplyStore(store.root, generator)
    waiting = Waiting("asks the same LLM")
    # Two runs do not ask twice about the users that they share.
    with store.lock(f"replies-{generator}", this_process(), waiting):
        replies = Replies(rows.read(), readable, settings.retries)
        due = sum(replies.next_attempt(key) is not None for key in prompts)
        with progress("asking the LLM", due, "replies") as on_progress:
            sent = ask(engines.generator, prompts, replies, chunk=chunk, save=rows.append, on_progress=on_progress)
    table = interests_table(requests, replies, parse)
    check_any(table)
    staging.write_table("interests", table)
    summary = {"llm_requests": sent, **counts(table), "copied_evidence": copied_evidence(table, parse, template)}
    _say_what_was_cut(summary, settings.max_tokens)
    return summary


def _say_what_was_cut(summary: Summary, max_tokens: int) -> None:
    if summary["truncated"]:
        cut = f"{summary['truncated']} of {summary['users']} replies were cut by llm.max_tokens={max_tokens}"
        info(f"      {cut}: their whole entries are kept; a higher llm.max_tokens asks all users again")
