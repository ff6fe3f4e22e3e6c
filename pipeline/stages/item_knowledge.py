"""Stage 1b: what is known about each item, by the LLM or from a file. Off by default."""

from collections.abc import Sequence, Set
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.config import ItemKnowledgeSettings
from eimf.data.source import RawFile, open_source
from eimf.errors import DataError
from eimf.esim.item_prompt import ItemTemplate, load_item_template
from eimf.store import keys
from eimf.store.artifact import Staging
from pipeline.backends.engines import Engines
from pipeline.paths import local_path
from pipeline.stages.asking import Asking
from pipeline.stages.raw_files import files_identity
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from eimf.esim.item_knowledge import ItemQuestion, ParsedKnowledge
    from eimf.esim.item_prompt import ItemPromptWriter

_NUMBER, _KIND, _VERSION = "1b", "item_knowledge", 1
_SOURCE, _LIMIT = "item_knowledge.source", "item_knowledge.max_tokens"
Texts = list[str | None]
"""What is known about each item of the dataset; None for nothing."""


def item_knowledge_stage(settings: ItemKnowledgeSettings, folder: Path, engines: Engines, asking: Asking) -> Stage:
    """Stage 1b. Relative paths start at `folder`. Raises SettingError for a template, and DataError for a file, that
    cannot be read."""
    common: dict[str, Any] = {"max_events": settings.max_events, "control": settings.control}
    if not settings.asks_llm:
        files = knowledge_files(settings, folder)
        configuration = {**common, "file": files_identity(files), "author": settings.author}
        return Stage(_NUMBER, _KIND, _VERSION, ("dataset",), configuration, partial(_build_from_file, settings, files))
    from eimf.esim.item_knowledge import knowledge_schema

    template = load_item_template(settings.template, folder)
    identity = engines.identity_for(knowledge_schema(settings.max_words), settings.max_tokens)
    configuration = {
        **common,
        "generator": identity,
        "template": template.content(),
        "max_words": settings.max_words,
        "retries": asking.retries,
    }
    build = partial(_build_by_llm, settings, template, engines, identity, asking)
    return Stage(_NUMBER, _KIND, _VERSION, ("dataset",), configuration, build)


def knowledge_files(settings: ItemKnowledgeSettings, folder: Path) -> Sequence[RawFile]:
    """The files that `source` names. Raises DataError if there are none."""
    return open_source(local_path(settings.source, folder), _SOURCE).files


def _build_from_file(
    settings: ItemKnowledgeSettings, files: Sequence[RawFile], artifacts: Artifacts, staging: Staging
) -> Summary:
    from eimf.data.knowledge_file import read_knowledge

    items, is_wanted = _items(artifacts, settings.max_events)
    content = read_knowledge(files, _SOURCE)
    matched = content.of(items[schema.ITEM_ID].to_pylist(), _SOURCE)
    texts = [text if wanted else None for text, wanted in zip(matched, is_wanted, strict=True)]
    num_matched = sum(text is not None for text in matched)
    summary = {
        "items": items.num_rows,
        "asked": int(is_wanted.sum()),
        "known": _write(items, texts, settings, staging),
        "matched": num_matched,
        "unmatched": len(content.texts) - num_matched,
        "empty": content.empty,
    }
    return {**summary, "author": settings.author}


def _build_by_llm(
    settings: ItemKnowledgeSettings,
    template: ItemTemplate,
    engines: Engines,
    identity: dict[str, Any],
    asking: Asking,
    artifacts: Artifacts,
    staging: Staging,
) -> Summary:
    from eimf.esim.generate import replies_table
    from eimf.esim.item_prompt import ItemPromptWriter
    from eimf.esim.summary import check_any, status_counts, token_counts

    items, is_wanted = _items(artifacts, settings.max_events)
    writer = ItemPromptWriter(template, engines.renderer(), settings.max_words)
    requests, questions = _questions(items, is_wanted, writer, identity)
    replies, num_sent = asking.ask(
        partial(engines.generator, settings.max_tokens),
        identity,
        questions,
        partial(_parse, template.example_answers(), settings.max_words),
        _LIMIT,
    )
    parsed = replies_table(requests, replies, schema.KNOWLEDGE_REPLIES)
    check_any(parsed, _KIND, "word about an item", "item_knowledge.template", _LIMIT)
    staging.write_table("replies", parsed)
    texts: Texts = [None] * items.num_rows
    for item, key in zip(requests[schema.ITEM].to_pylist(), requests[schema.REQUEST_KEY].to_pylist(), strict=True):
        texts[item - 1] = replies.last(key).parsed.text or None
    return {
        "items": items.num_rows,
        "asked": requests.num_rows,
        "known": _write(items, texts, settings, staging),
        "llm_requests": num_sent,
        **status_counts(parsed),
        **token_counts(parsed),
    }


def _items(artifacts: Artifacts, max_events: int | None) -> "tuple[pa.Table, np.ndarray]":
    """The items of the dataset, and which of them may have knowledge: those with at most `max_events` training events,
    [N] bool. Raises DataError if there are none."""
    from pipeline.stages.load import histories_of

    items, frequency = artifacts["dataset"].table("items"), histories_of(artifacts).frequency()
    is_wanted: np.ndarray = frequency <= (frequency.max() if max_events is None else max_events)
    if not is_wanted.any():
        problem = f"{max_events}, but every item has more training events (the fewest are {frequency.min()})"
        raise DataError("item_knowledge.max_events", problem, "raise it, or leave it out")
    return items, is_wanted


def _questions(
    items: "pa.Table", is_wanted: "np.ndarray", writer: "ItemPromptWriter", identity: dict[str, Any]
) -> "tuple[pa.Table, dict[str, ItemQuestion]]":
    """The wanted items that have a title or another text, each with its request key; and what is asked, by that key.
    `identity` is that of the LLM. Raises DataError if no item has a text."""
    import pyarrow as pa

    from eimf.esim.item_knowledge import ItemQuestion

    names, texts = schema.display_names(items), items[schema.TEXT].to_pylist()
    questions, asked = {}, []
    for row in is_wanted.nonzero()[0].tolist():
        if names[row] is not None:
            question = ItemQuestion(writer.write(texts[row]), texts[row], identity["schema"])
            key = keys.request_key(identity, question.prompt)
            questions[key] = question
            asked.append({schema.REQUEST_KEY: key, schema.ITEM: row + 1})
    if not asked:
        problem = f"none of {int(is_wanted.sum())} items has a title or another text"
        raise DataError("dataset.columns.title", problem, "name a column with titles: the LLM reads them")
    columns = pa.schema([schema.KNOWLEDGE_REPLIES.field(name) for name in (schema.REQUEST_KEY, schema.ITEM)])
    return pa.Table.from_pylist(asked, schema=columns), questions


def _parse(examples: Set[str], max_words: int, reply: str, question: "ItemQuestion") -> "ParsedKnowledge":
    from eimf.esim.item_knowledge import parse_knowledge

    return parse_knowledge(reply, question.item, examples, max_words)


def _write(items: "pa.Table", texts: Texts, settings: ItemKnowledgeSettings, staging: Staging) -> int:
    """Write the table of what is known, and return of how many items. Raises DataError if there is nothing to
    shuffle."""
    from eimf.esim.item_knowledge import knowledge_table, shuffled

    known = sum(text is not None for text in texts)
    if settings.control == "shuffled":
        if known < 2:
            problem = f"shuffled, but only {known} items have knowledge"
            raise DataError("item_knowledge.control", problem, "raise item_knowledge.max_events, or leave control out")
        texts = shuffled(texts)
    staging.write_table("knowledge", knowledge_table(items, texts))
    return known
