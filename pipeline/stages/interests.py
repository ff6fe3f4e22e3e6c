"""Stages 6 and 7: what the LLM is asked, and what it replies."""

from functools import cache
from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.errors import DataError
from eimf.esim.prompt import load_template
from eimf.store import keys
from eimf.store.artifact import Staging
from eimf.store.replies import ReplyStore
from pipeline.console import Waiting, info, progress
from pipeline.stages.stage import Artifacts, Facts, Run, this_process

if TYPE_CHECKING:
    from eimf.esim.parse import Parsed


def requests_configuration(run: Run) -> dict[str, Any]:
    settings = run.recipe.prompt
    template = load_template(settings.template, run.recipe.folder)
    return {
        "prompt": settings.model_dump(mode="json", exclude={"template"}),
        "template": template.model_dump(mode="json"),
        "generator": run.engines.generator_identity,
    }


def build_requests(run: Run, made: Artifacts, staging: Staging) -> Facts:
    import pyarrow as pa

    from eimf.esim.prompt import PromptWriter, shown_history
    from pipeline.stages.load import histories_of

    settings, generator = run.recipe.prompt, run.engines.generator_identity
    writer = PromptWriter(load_template(settings.template, run.recipe.folder), run.engines.renderer())
    train = histories_of(made).training()
    titles = made["dataset"].table("items", [schema.TITLE])[schema.TITLE].to_pylist()
    typical = made["typical_users"].table("typical_users")[schema.USER].to_pylist()
    rows = []
    for user in typical:
        shown = shown_history(
            train.item_idx[train.offsets[user] : train.offsets[user + 1]],
            titles,
            settings.max_titles,
            settings.title_chars,
        )
        if shown is not None:
            prompt = writer.write(shown.titles)
            rows.append((keys.request_key(generator, prompt), user, prompt, shown.items, shown.last_position))
    if not rows:
        found = f"no typical user of {len(typical)} has an item with a title in training"
        raise DataError("dataset.columns.title", found, "name a column with titles: the LLM reads them")
    staging.write_table("requests", pa.table(list(map(list, zip(*rows, strict=True))), schema=schema.REQUESTS))
    return {"requests": len(rows), "without_titles": len(typical) - len(rows)}


def interests_configuration(run: Run) -> dict[str, Any]:
    return {"retries": run.recipe.llm.retries}


def build_interests(run: Run, made: Artifacts, staging: Staging) -> Facts:
    from eimf.esim.generate import Replies, ask, interests_table
    from eimf.esim.parse import parse_reply
    from eimf.esim.summary import check_any, copied_evidence, counts

    settings, requests = run.recipe.llm, made["requests"].table("requests")
    template = load_template(run.recipe.prompt.template, run.recipe.folder)
    examples = template.example_phrases()
    prompts = dict(zip(requests[schema.REQUEST_KEY].to_pylist(), requests[schema.PROMPT].to_pylist(), strict=True))
    shown = dict(zip(requests[schema.REQUEST_KEY].to_pylist(), requests[schema.HISTORY].to_pylist(), strict=True))

    @cache
    def parse(key: str, reply: str) -> "Parsed":
        return parse_reply(reply, len(shown[key]), examples, settings.max_interests)

    def readable(key: str, reply: str) -> bool:
        return key in shown and parse(key, reply).reason is None

    generator = keys.digest(run.engines.generator_identity)
    rows = ReplyStore(run.store.root, generator)
    waiting = Waiting("asks the same LLM")
    with run.store.lock(
        f"replies-{generator}", this_process(), waiting
    ):  # two runs do not ask about the users that they share twice
        replies = Replies(rows.read(), readable, settings.retries)
        due = sum(replies.next_attempt(key) is not None for key in prompts)
        with progress("asking the LLM", due, "replies") as on_progress:
            chunk = run.recipe.runtime.reply_chunk_size
            sent = ask(run.engines.generator, prompts, replies, chunk=chunk, save=rows.append, on_progress=on_progress)
    table = interests_table(requests, replies, parse)
    check_any(table)
    staging.write_table("interests", table)
    summary = {"llm_requests": sent, **counts(table), "copied_evidence": copied_evidence(table, parse, template)}
    _say_what_was_cut(summary, settings.max_tokens)
    return summary


def _say_what_was_cut(summary: Facts, max_tokens: int) -> None:
    if summary["truncated"]:
        cut = f"{summary['truncated']} of {summary['users']} replies were cut by llm.max_tokens={max_tokens}"
        info(f"      {cut}: their whole entries are kept; a higher llm.max_tokens asks all users again")
