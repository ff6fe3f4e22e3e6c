"""Stages 6 and 7: what the LLM is asked, and what it replies."""

from functools import partial

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


def requests_stage(settings: PromptSettings, template: Template, engines: Engines) -> Stage:
    """Stage 6: a rendered prompt for each typical user."""
    configuration = {
        "prompt": settings.model_dump(mode="json", exclude={"template"}),
        "template": template.model_dump(mode="json"),
        "generator": engines.generator_identity,
    }
    build = partial(_build_requests, settings, template, engines)
    return Stage(6, "requests", 3, ("dataset", "typical_users"), configuration, build)


def interests_stage(
    settings: LLMSettings, template: Template, engines: Engines, store: Store, chunk_size: int
) -> Stage:
    """Stage 7: the LLM's replies and the interests in them. `store` keeps the replies, `chunk_size` at a time."""
    build = partial(_build_interests, settings, template, engines, store, chunk_size)
    return Stage(7, "interests", 3, ("requests",), {"retries": settings.retries}, build)


def _build_requests(
    settings: PromptSettings, template: Template, engines: Engines, artifacts: Artifacts, staging: Staging
) -> Summary:
    import pyarrow as pa

    from eimf.esim.prompt import PromptWriter, prompt_history
    from pipeline.stages.load import histories_of

    generator = engines.generator_identity
    writer = PromptWriter(template, engines.renderer())
    train = histories_of(artifacts).training()
    titles = artifacts["dataset"].table("items", [schema.TITLE])[schema.TITLE].to_pylist()
    typical = artifacts["typical_users"].table("typical_users")[schema.USER].to_pylist()
    rows = []
    for user in typical:
        item_idx = train.item_idx[train.offsets[user] : train.offsets[user + 1]]
        history = prompt_history(item_idx, titles, settings.max_titles, settings.title_chars)
        if history is not None:
            prompt = writer.write(history.titles)
            rows.append((keys.request_key(generator, prompt), user, prompt, history.item_idx, history.last_position))
    if not rows:
        problem = f"no typical user of {len(typical)} has an item with a title in training"
        raise DataError("dataset.columns.title", problem, "name a column with titles: the LLM reads them")
    staging.write_table("requests", pa.table(list(map(list, zip(*rows, strict=True))), schema=schema.REQUESTS))
    return {"requests": len(rows), "without_titles": len(typical) - len(rows)}


def _build_interests(
    settings: LLMSettings,
    template: Template,
    engines: Engines,
    store: Store,
    chunk_size: int,
    artifacts: Artifacts,
    staging: Staging,
) -> Summary:
    from eimf.esim.generate import Replies, generate_missing, interests_table, replies_table
    from eimf.esim.parse import parse_reply
    from eimf.esim.summary import check_any, copied_evidence, counts

    requests = artifacts["requests"].table("requests")
    request_keys = requests[schema.REQUEST_KEY].to_pylist()
    prompts = dict(zip(request_keys, requests[schema.PROMPT].to_pylist(), strict=True))
    num_titles = dict(zip(request_keys, map(len, requests[schema.HISTORY].to_pylist()), strict=True))
    parse = partial(parse_reply, examples=template.example_phrases(), max_interests=settings.max_interests)
    generator = keys.digest(engines.generator_identity)
    reply_store = ReplyStore(store.root, generator)
    # Two runs never ask twice about a user that both of them need.
    with store.lock(f"replies-{generator}", this_process(), Waiting("asks the same LLM")):
        replies = Replies(reply_store.read(), num_titles, parse, settings.retries)
        with progress("asking the LLM", len(replies.pending()), "replies") as on_progress:
            num_sent = generate_missing(
                engines.generator,
                prompts,
                replies,
                chunk_size=chunk_size,
                save=reply_store.append,
                on_progress=on_progress,
            )
    parsed_replies, interests = replies_table(requests, replies), interests_table(requests, replies)
    check_any(parsed_replies)
    staging.write_table("replies", parsed_replies)
    staging.write_table("interests", interests)
    num_copied = copied_evidence((replies.last(key).parsed for key in request_keys), template)
    summary = {"llm_requests": num_sent, **counts(parsed_replies, interests), "copied_evidence": num_copied}
    _report_truncated(summary, settings.max_tokens)
    return summary


def _report_truncated(summary: Summary, max_tokens: int) -> None:
    if summary["truncated"]:
        cut = f"{summary['truncated']} of {summary['users']} replies were cut by llm.max_tokens={max_tokens}"
        info(f"      {cut}: their complete entries count; a higher llm.max_tokens asks about all users again")
