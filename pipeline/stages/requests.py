"""Stage 6: what the LLM is asked."""

from functools import partial
from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.config import LLMSettings, PromptSettings
from eimf.errors import DataError
from eimf.esim.prompt import Template
from eimf.store import keys
from eimf.store.artifact import Staging
from pipeline.backends.engines import Engines
from pipeline.stages.base import BASE
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    import pyarrow as pa

    from eimf.esim.offers import Offer
    from eimf.esim.prompt import PromptHistory, PromptWriter
    from eimf.esim.vocabulary import Catalogue

_VERSION = 1
"""Of the closed vocabulary: what is offered for a history."""
_OFFERS = 16
"""Most phrases offered for a history."""


def requests_stage(
    settings: PromptSettings, llm: LLMSettings, template: Template, engines: Engines, *, extends: bool = False
) -> Stage:
    """Stage 6: a rendered prompt for each typical user; with a closed vocabulary, also the phrases offered. In an
    extension a user who was asked about before has the same request as then, so nothing is asked twice."""
    parents = ("dataset", "typical_users", *([f"{BASE}requests", f"{BASE}dataset"] if extends else []))
    configuration = {
        "prompt": settings.model_dump(mode="json", exclude={"template", "vocabulary"}),
        "template": template.content(closed=engines.closed_vocabulary),
        "generator": engines.generator_identity,
    }
    if not engines.closed_vocabulary:
        build = partial(_build_free, settings, template, engines)
        return Stage(6, "requests", 3, parents, configuration, build)
    configuration["vocabulary"] = {
        "version": _VERSION,
        "offers": _OFFERS,
        "interest_chars": llm.interest_chars,
        "interests": [llm.min_interests, llm.max_interests],
    }
    build = partial(_build_closed, settings, llm, template, engines)
    return Stage(6, "requests", 3, parents, configuration, build)


def _build_free(
    settings: PromptSettings, template: Template, engines: Engines, artifacts: Artifacts, staging: Staging
) -> Summary:
    kept = _kept(artifacts, schema.REQUESTS)
    histories, without_titles = _prompt_histories(settings, artifacts, kept)
    writer, rows = _writer(template, engines), []
    for user, history in histories.items():
        prompt = writer.write(history.titles)
        key = keys.request_key(engines.generator_identity, prompt)
        rows.append((key, user, prompt, history.item_idx, history.last_position))
    table = _with_kept(rows, kept, schema.REQUESTS, artifacts)
    staging.write_table("requests", table)
    return {"requests": table.num_rows, "without_titles": without_titles, **_counted(kept)}


def _build_closed(
    settings: PromptSettings,
    llm: LLMSettings,
    template: Template,
    engines: Engines,
    artifacts: Artifacts,
    staging: Staging,
) -> Summary:
    from eimf.esim.offers import offers_schema

    kept = _kept(artifacts, schema.CLOSED_REQUESTS)
    histories, without_titles = _prompt_histories(settings, artifacts, kept)
    catalogue = _catalogue(artifacts)
    writer, rows = _writer(template, engines), []
    for user, history in histories.items():
        offers = _offers(history, catalogue, template, llm, writer)
        prompt = writer.write(history.titles, [offer.interest for offer in offers])
        reply = offers_schema(offers, llm.min_interests) if offers else engines.json_schema
        key = keys.request_key(engines.generator_identity, prompt, reply)
        offered = [{schema.INTEREST: o.interest, schema.NUMBERS: o.items, schema.SLOT: o.slot} for o in offers]
        rows.append((key, user, prompt, history.item_idx, history.last_position, offered))
    table = _with_kept(rows, kept, schema.CLOSED_REQUESTS, artifacts)
    staging.write_table("requests", table)
    offered = table[schema.OFFERS].combine_chunks().flatten()
    without_phrases = sum(not row for row in table[schema.OFFERS].to_pylist())  # asked as with a free vocabulary
    return {
        "requests": table.num_rows,
        "without_titles": without_titles,
        "without_phrases": without_phrases,
        "phrases": len(offered),
        "distinct_phrases": len(offered.field(schema.INTEREST).unique()),
        **_counted(kept),
    }


def _kept(artifacts: Artifacts, of: "pa.Schema") -> "pa.Table | None":
    """The base's requests about typical users whose history still begins as it was shown to the LLM; None if nothing is
    extended, or if the base asked in another way."""
    import numpy as np
    import pyarrow as pa

    from pipeline.stages.load import histories_of

    if f"{BASE}requests" not in artifacts:
        return None
    before = artifacts[f"{BASE}requests"].table("requests")
    if not before.schema.equals(of):
        return of.empty_table()
    old, new = histories_of({"dataset": artifacts[f"{BASE}dataset"]}), histories_of(artifacts)
    typical = set(artifacts["typical_users"].table("typical_users")[schema.USER].to_pylist())
    users, last = (before[name].to_pylist() for name in (schema.USER, schema.LAST_PROMPTED_POSITION))

    def begins_as_before(user: int, shown: int) -> bool:
        if user not in typical or new.num_train[user] < shown:
            return False
        one, other = (each.item_idx[each.offsets[user] :][:shown] for each in (old, new))
        return np.array_equal(one, other)

    chosen = [begins_as_before(user, position + 1) for user, position in zip(users, last, strict=True)]
    return before.filter(pa.array(chosen, pa.bool_()))


def _with_kept(
    rows: "list[tuple[Any, ...]]", kept: "pa.Table | None", of: "pa.Schema", artifacts: Artifacts
) -> "pa.Table":
    """The new rows and those kept, in the order of the typical users."""
    import pyarrow as pa

    columns = list(map(list, zip(*rows, strict=True))) if rows else [[] for _ in of.names]
    new = pa.table(columns, schema=of)
    if kept is None:
        return new
    every = pa.concat_tables([new, kept])
    place = {user: row for row, user in enumerate(every[schema.USER].to_pylist())}
    typical = artifacts["typical_users"].table("typical_users")[schema.USER].to_pylist()
    return every.take([place[user] for user in typical if user in place])


def _counted(kept: "pa.Table | None") -> Summary:
    return {} if kept is None else {"kept": kept.num_rows}


def _prompt_histories(
    settings: PromptSettings, artifacts: Artifacts, kept: "pa.Table | None"
) -> "tuple[dict[int, PromptHistory], int]":
    """What the prompt of each typical user without a request that is `kept` shows, and how many of these users have no
    item with a name. Raises DataError if there is no request at all."""
    from eimf.esim.prompt import prompt_history
    from pipeline.stages.load import histories_of

    dataset = histories_of(artifacts)
    titles = schema.display_names(artifacts["dataset"].table("items", [schema.TITLE, schema.METADATA]))
    known = set() if kept is None else set(kept[schema.USER].to_pylist())
    every = artifacts["typical_users"].table("typical_users")[schema.USER].to_pylist()
    typical = [user for user in every if user not in known]
    histories = {}
    for user in typical:
        training = dataset.item_idx[dataset.offsets[user] :][: dataset.num_train[user]]
        history = prompt_history(training, titles, settings.max_titles, settings.title_chars)
        if history is not None:
            histories[user] = history
    if not histories and not known:
        problem = f"no typical user of {len(typical)} has an item with a title or another text in training"
        raise DataError("dataset.columns.title", problem, "name a column with titles: the LLM reads them")
    return histories, len(typical) - len(histories)


def _writer(template: Template, engines: Engines) -> "PromptWriter":
    from eimf.esim.prompt import PromptWriter

    return PromptWriter(template, engines.renderer())


def _catalogue(artifacts: Artifacts) -> "Catalogue":
    from eimf.esim.vocabulary import read_catalogue
    from pipeline.stages.load import histories_of

    train = histories_of(artifacts).training()
    items = artifacts["dataset"].table("items", [schema.TITLE, schema.METADATA])
    titles, metadata = (items[name].to_pylist() for name in (schema.TITLE, schema.METADATA))
    return read_catalogue(titles, metadata, train.item_idx, train.offsets)


def _offers(
    history: "PromptHistory", catalogue: "Catalogue", template: Template, llm: LLMSettings, writer: "PromptWriter"
) -> "list[Offer]":
    from eimf.esim.offers import offers_for

    offers = offers_for(
        [item - 1 for item in history.item_idx],
        catalogue,
        template.wording,
        most=_OFFERS,
        slots=llm.max_interests,
        chars=llm.interest_chars,
    )
    return [offer for offer in offers if writer.offerable(offer.interest)]
