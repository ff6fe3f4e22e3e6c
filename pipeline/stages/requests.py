"""Stage 6: what the LLM is asked."""

from functools import partial
from typing import TYPE_CHECKING

from eimf import schema
from eimf.config import LLMSettings, PromptSettings
from eimf.errors import DataError
from eimf.esim.prompt import Template
from eimf.store import keys
from eimf.store.artifact import Staging
from pipeline.backends.engines import Engines
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    from eimf.esim.offers import Offer
    from eimf.esim.prompt import PromptHistory, PromptWriter
    from eimf.esim.vocabulary import Catalogue

_VERSION = 1
"""Of the closed vocabulary: what is offered for a history."""
_OFFERS = 16
"""Most phrases offered for a history."""


def requests_stage(settings: PromptSettings, llm: LLMSettings, template: Template, engines: Engines) -> Stage:
    """Stage 6: a rendered prompt for each typical user; with a closed vocabulary, also the phrases offered."""
    configuration = {
        "prompt": settings.model_dump(mode="json", exclude={"template", "vocabulary"}),
        "template": template.content(closed=engines.closed_vocabulary),
        "generator": engines.generator_identity,
    }
    if not engines.closed_vocabulary:
        build = partial(_build_free, settings, template, engines)
        return Stage(6, "requests", 3, ("dataset", "typical_users"), configuration, build)
    configuration["vocabulary"] = {
        "version": _VERSION,
        "offers": _OFFERS,
        "interest_chars": llm.interest_chars,
        "interests": [llm.min_interests, llm.max_interests],
    }
    build = partial(_build_closed, settings, llm, template, engines)
    return Stage(6, "requests", 3, ("dataset", "typical_users"), configuration, build)


def _build_free(
    settings: PromptSettings, template: Template, engines: Engines, artifacts: Artifacts, staging: Staging
) -> Summary:
    import pyarrow as pa

    histories, without_titles = _prompt_histories(settings, artifacts)
    writer, rows = _writer(template, engines), []
    for user, history in histories.items():
        prompt = writer.write(history.titles)
        key = keys.request_key(engines.generator_identity, prompt)
        rows.append((key, user, prompt, history.item_idx, history.last_position))
    staging.write_table("requests", pa.table(list(map(list, zip(*rows, strict=True))), schema=schema.REQUESTS))
    return {"requests": len(rows), "without_titles": without_titles}


def _build_closed(
    settings: PromptSettings,
    llm: LLMSettings,
    template: Template,
    engines: Engines,
    artifacts: Artifacts,
    staging: Staging,
) -> Summary:
    import pyarrow as pa

    from eimf.esim.offers import offers_schema

    histories, without_titles = _prompt_histories(settings, artifacts)
    catalogue = _catalogue(artifacts)
    writer, rows = _writer(template, engines), []
    for user, history in histories.items():
        offers = _offers(history, catalogue, template, llm, writer)
        prompt = writer.write(history.titles, [offer.interest for offer in offers])
        reply = offers_schema(offers, llm.min_interests) if offers else engines.json_schema
        key = keys.request_key(engines.generator_identity, prompt, reply)
        offered = [{schema.INTEREST: o.interest, schema.NUMBERS: o.items, schema.SLOT: o.slot} for o in offers]
        rows.append((key, user, prompt, history.item_idx, history.last_position, offered))
    table = pa.table(list(map(list, zip(*rows, strict=True))), schema=schema.CLOSED_REQUESTS)
    staging.write_table("requests", table)
    offered = table[schema.OFFERS].combine_chunks().flatten()
    without_phrases = sum(not row[-1] for row in rows)  # they are asked as with a free vocabulary
    return {
        "requests": len(rows),
        "without_titles": without_titles,
        "without_phrases": without_phrases,
        "phrases": len(offered),
        "distinct_phrases": len(offered.field(schema.INTEREST).unique()),
    }


def _prompt_histories(settings: PromptSettings, artifacts: Artifacts) -> "tuple[dict[int, PromptHistory], int]":
    """What each typical user's prompt shows, and how many users have no item with a name. Raises DataError if all have
    none."""
    from eimf.esim.prompt import prompt_history
    from pipeline.stages.load import histories_of

    dataset = histories_of(artifacts)
    titles = schema.display_names(artifacts["dataset"].table("items", [schema.TITLE, schema.METADATA]))
    typical = artifacts["typical_users"].table("typical_users")[schema.USER].to_pylist()
    histories = {}
    for user in typical:
        training = dataset.item_idx[dataset.offsets[user] :][: dataset.num_train[user]]
        history = prompt_history(training, titles, settings.max_titles, settings.title_chars)
        if history is not None:
            histories[user] = history
    if not histories:
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
