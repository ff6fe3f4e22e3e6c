"""Stage 6: what the LLM is asked."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.config import LLMSettings, PromptSettings
from eimf.errors import DataError
from eimf.esim.prompt import Template
from eimf.store import keys
from eimf.store.artifact import Staging
from eimf.store.manifest import EXTENDED
from pipeline.backends.engines import Engines
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
    parents = ("dataset", "typical_users", *([f"{EXTENDED}requests", f"{EXTENDED}dataset"] if extends else []))
    configuration = {
        "prompt": settings.model_dump(mode="json", exclude={"template", "vocabulary"}),
        "template": template.content(closed=engines.closed_vocabulary),
        "generator": engines.generator_identity,
    }
    if engines.closed_vocabulary:
        configuration["vocabulary"] = {
            "version": _VERSION,
            "offers": _OFFERS,
            "interest_chars": llm.interest_chars,
            "interests": [llm.min_interests, llm.max_interests],
        }
    build = partial(_build_requests, settings, llm, template, engines)
    return Stage(6, "requests", 3, parents, configuration, build)


def _build_requests(
    settings: PromptSettings,
    llm: LLMSettings,
    template: Template,
    engines: Engines,
    artifacts: Artifacts,
    staging: Staging,
) -> Summary:
    typical = artifacts["typical_users"].table("typical_users")[schema.USER].to_pylist()
    kept = _kept(artifacts, schema.CLOSED_REQUESTS if engines.closed_vocabulary else schema.REQUESTS)
    known = set() if kept is None else set(kept[schema.USER].to_pylist())
    to_ask = [user for user in typical if user not in known]
    new = RequestWriter(settings, llm, template, engines, artifacts).write(to_ask)
    table = new if kept is None else _with_kept(new, kept, typical)
    if not table.num_rows:
        problem = f"no typical user of {len(typical)} has an item with a title or another text in training"
        raise DataError("dataset.columns.title", problem, "name a column with titles: the LLM reads them")
    staging.write_table("requests", table)
    summary = {"requests": table.num_rows, "without_titles": len(typical) - table.num_rows}
    of_kept = {} if kept is None else {"kept": kept.num_rows}
    if not engines.closed_vocabulary:
        return {**summary, **of_kept}
    offers = table[schema.OFFERS].combine_chunks()
    offered = offers.flatten()
    return {
        **summary,
        "without_phrases": sum(not phrases for phrases in offers.to_pylist()),  # asked as with a free vocabulary
        "phrases": len(offered),
        "distinct_phrases": len(offered.field(schema.INTEREST).unique()),
        **of_kept,
    }


def _kept(artifacts: Artifacts, of: "pa.Schema") -> "pa.Table | None":
    """The base's requests about typical users whose history still begins as it was shown to the LLM, or no rows if the
    base asked in another way; None if nothing is extended."""
    import numpy as np
    import pyarrow as pa

    from pipeline.stages.load import histories_of

    if f"{EXTENDED}requests" not in artifacts:
        return None
    before = artifacts[f"{EXTENDED}requests"].table("requests")
    if not before.schema.equals(of):
        return of.empty_table()
    old, new = histories_of({"dataset": artifacts[f"{EXTENDED}dataset"]}), histories_of(artifacts)
    typical = set(artifacts["typical_users"].table("typical_users")[schema.USER].to_pylist())
    users, last = (before[name].to_pylist() for name in (schema.USER, schema.LAST_PROMPTED_POSITION))

    def begins_as_before(user: int, shown: int) -> bool:
        if user not in typical or new.num_train[user] < shown:
            return False
        one, other = (each.item_idx[each.offsets[user] :][:shown] for each in (old, new))
        return np.array_equal(one, other)

    chosen = [begins_as_before(user, position + 1) for user, position in zip(users, last, strict=True)]
    return before.filter(pa.array(chosen, pa.bool_()))


def _with_kept(new: "pa.Table", kept: "pa.Table", typical: Sequence[int]) -> "pa.Table":
    """The new requests and those kept, in the order of the typical users."""
    import pyarrow as pa

    every = pa.concat_tables([new, kept])
    place = {user: row for row, user in enumerate(every[schema.USER].to_pylist())}
    return every.take([place[user] for user in typical if user in place])


class RequestWriter:
    """What the LLM is asked about users of a dataset, with a free or a closed vocabulary."""

    def __init__(
        self, settings: PromptSettings, llm: LLMSettings, template: Template, engines: Engines, artifacts: Artifacts
    ) -> None:
        """Reads the `dataset` of the artifacts, and loads the tokenizer of the LLM."""
        from eimf.esim.prompt import PromptWriter
        from pipeline.stages.load import histories_of

        self._settings, self._llm, self._template, self._engines = settings, llm, template, engines
        self._histories = histories_of(artifacts)
        self._titles = schema.display_names(artifacts["dataset"].table("items", [schema.TITLE, schema.METADATA]))
        self._catalogue = _catalogue(artifacts) if engines.closed_vocabulary else None
        self._writer = PromptWriter(template, engines.renderer())

    def write(self, users: Sequence[int]) -> "pa.Table":
        """`schema.REQUESTS`, or `schema.CLOSED_REQUESTS`, of those of the users who have an item with a name, in this
        order."""
        import pyarrow as pa

        rows, closed = [], self._catalogue is not None
        for user in users:
            if (history := self._history(user)) is not None:
                rows.append(self._closed(user, history) if closed else self._free(user, history))
        table_schema = schema.CLOSED_REQUESTS if closed else schema.REQUESTS
        columns = list(map(list, zip(*rows, strict=True))) or [[] for _ in table_schema]
        return pa.table(columns, schema=table_schema)

    def _history(self, user: int) -> "PromptHistory | None":
        from eimf.esim.prompt import prompt_history

        dataset, settings = self._histories, self._settings
        training = dataset.item_idx[dataset.offsets[user] :][: dataset.num_train[user]]
        return prompt_history(training, self._titles, settings.max_titles, settings.title_chars)

    def _free(self, user: int, history: "PromptHistory") -> tuple[Any, ...]:
        prompt = self._writer.write(history.titles)
        key = keys.request_key(self._engines.generator_identity, prompt)
        return key, user, prompt, history.item_idx, history.last_position

    def _closed(self, user: int, history: "PromptHistory") -> tuple[Any, ...]:
        from eimf.esim.offers import offers_schema

        assert self._catalogue is not None
        offers = _offers(history, self._catalogue, self._template, self._llm, self._writer)
        prompt = self._writer.write(history.titles, [offer.interest for offer in offers])
        reply = offers_schema(offers, self._llm.min_interests) if offers else self._engines.json_schema
        key = keys.request_key(self._engines.generator_identity, prompt, reply)
        offered = [{schema.INTEREST: o.interest, schema.NUMBERS: o.items, schema.SLOT: o.slot} for o in offers]
        return key, user, prompt, history.item_idx, history.last_position, offered


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
