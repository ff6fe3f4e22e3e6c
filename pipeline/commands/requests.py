"""The commands `requests export` and `replies import`: an LLM is asked by files that somebody else has answered."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eimf import schema
from eimf.errors import DataError, SettingError
from eimf.esim import batch
from eimf.esim.batch import Entry, Name, Row, read_entry, read_rows
from eimf.esim.generate import Request, reply_row, request_seed
from eimf.esim.openai_format import BodyWriter, Messages
from eimf.esim.served import served_name
from eimf.store.artifact import Store
from eimf.store.files import replacing
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.stages.pending import AskedStage, asked_stages

if TYPE_CHECKING:
    from eimf.esim.generate import Row as ReplyRow

_OTHER_MODEL = "of another model or other settings of it"
_OTHER_REQUEST = "to no request of this recipe"
_OTHER_PROMPT = "to another prompt, or about others"
_TWICE, _ANSWERED = "given twice", "answered already"
_HARMLESS = {_TWICE, _ANSWERED}
_PART = 10_000
"""Rows of a part of the reply store."""


def model_name(recipe: Recipe) -> str:
    """The name of the LLM in batch files: that on a server, if it has one, else `llm.model`."""
    return served_name(recipe.llm.model) or recipe.runtime.served_model or recipe.llm.model


def run_export(recipe: Recipe, store: Store, output: Path) -> None:
    """Write the requests without a usable reply to the new file `output`. Raises SettingError if it exists."""
    if output.exists():
        raise SettingError("--output", f"{output} exists", "name a file that does not")
    stages = asked_stages(recipe, store)
    total = 0
    with replacing(output) as path, path.open("w", encoding="ascii") as file:
        for asked in stages:
            pending = asked.replies.pending()
            file.writelines(_lines(asked, pending, recipe))
            total += len(pending)
            info(f"{_title(asked)}: {len(pending)} of {len(asked.questions)} requests have no usable reply")
    info(f"{output} has {total} requests for {model_name(recipe)}")
    if "item_knowledge" in {asked.stage.kind for asked in stages} and len(stages) == 1:
        info("those of the later stages follow when these are answered: import the replies and export again")
    if served_name(recipe.llm.model) is None:
        name = f"--model FOLDER --served-model-name {model_name(recipe)} --trust-request-chat-template"
        info(f"vllm run-batch -i {output} -o REPLIES.jsonl {name}")


def _lines(asked: AskedStage, pending: Mapping[str, int], recipe: Recipe) -> Iterable[str]:
    served = served_name(recipe.llm.model) is not None
    form = Messages() if served else batch.RenderedMessages()
    writer = BodyWriter(model_name(recipe), form, not served, asked.identity["sampling"])
    for key, attempt in pending.items():
        question = asked.questions[key]
        request = Request(key, question.prompt, request_seed(key, attempt), question.json_schema)
        yield batch.batch_line(Name.of(asked.generator_key, key, attempt), request, writer)


def run_import(recipe: Recipe, store: Store, files: Sequence[Path]) -> None:
    """Keep the replies in `files` that answer requests of the recipe, and count the others by reason. Raises DataError
    if none can be used."""
    stages = asked_stages(recipe, store)
    replies = _Import(stages, recipe)
    for path in files:
        for row in read_rows(path):
            replies.take(row)
    replies.save()
    for asked in stages:
        info(replies.summary(asked))
    unused = ", ".join(f"{count} {reason}" for reason, count in replies.unused.most_common())
    if unused:
        info(f"not used: {unused}")
    if not replies.used and not replies.unused.keys() & _HARMLESS:
        problem = f"no reply can be used ({unused or 'there is none'})"
        raise DataError(", ".join(map(str, files)), problem, "give the options with which the requests were exported")


class _Import:
    """Replies of files, checked against the requests of a recipe."""

    def __init__(self, stages: Sequence[AskedStage], recipe: Recipe) -> None:
        self._stages, self._model = stages, model_name(recipe)
        self._served, self._retries = served_name(recipe.llm.model) is not None, recipe.llm.retries
        self._by_key = {key[:32]: (asked, key) for asked in stages for key in asked.questions}
        self._rows: dict[int, list[ReplyRow]] = {id(asked): [] for asked in stages}
        self._seen: set[str] = set()
        self.unused: Counter[str] = Counter()
        """How many replies could not be used, by reason."""
        self.used = 0

    def take(self, row: Row | None) -> None:
        """Use a row of a file, or count why not."""
        entry = batch.NO_ROW if row is None else read_entry(row)
        reason = entry if isinstance(entry, str) else self._use(entry)
        if reason:
            self.unused[reason] += 1
        else:
            self.used += 1

    def save(self) -> None:
        """Write what is left to the store."""
        for asked in self._stages:
            self._save(asked)

    def summary(self, asked: AskedStage) -> str:
        """How a stage stands now."""
        pending = asked.replies.pending()
        missing = sum(attempt == 0 for attempt in pending.values())
        again = f", {len(pending) - missing} malformed ones are to be asked again" if len(pending) > missing else ""
        return (
            f"{_title(asked)}: {len(asked.questions) - missing} of {len(asked.questions)} requests have a reply{again}"
        )

    def _use(self, entry: Entry) -> str | None:
        """Use a reply; returns why it cannot be used, or None."""
        found = self._request(entry)
        if isinstance(found, str):
            return found
        asked, key, attempt = found
        if key in self._seen:
            return _TWICE
        pending = asked.replies.next_attempt(key)
        attempt = pending if attempt is None else attempt
        if pending is None or attempt is None or attempt < pending or attempt > self._retries:
            return _ANSWERED
        self._seen.add(key)
        row = reply_row(replace(entry.reply, key=key), attempt)
        asked.replies.add(row)
        rows = self._rows[id(asked)]
        rows.append(row)
        if len(rows) == _PART:
            self._save(asked)
        return None

    def _save(self, asked: AskedStage) -> None:
        if rows := self._rows[id(asked)]:
            asked.save(rows)
            rows.clear()

    def _request(self, entry: Entry) -> tuple[AskedStage, str, int | None] | str:
        """The stage, the key and the attempt of the request that a reply answers; or why there is none."""
        if entry.names == batch.CUSTOM_ID:
            return self._named(entry)
        if entry.names == schema.REQUEST_KEY:
            asked, key = self._by_key.get(entry.id[:32], (None, ""))
            return (asked, key, None) if asked is not None and key == entry.id else _OTHER_REQUEST
        if not self._served:
            problem = f"a file by {entry.names} does not say which LLM wrote it, and llm.model is another one"
            raise SettingError("replies import", problem, "set llm.model=served:NAME with the name of that LLM")
        for asked in self._stages:
            if asked.subject == entry.names and (subject := asked.ids.get(entry.id)):
                return asked, subject, None
        return _OTHER_REQUEST

    def _named(self, entry: Entry) -> tuple[AskedStage, str, int | None] | str:
        name = Name.read(entry.id)
        if name is None:
            return _OTHER_REQUEST
        asked, key = self._by_key.get(name.key, (None, ""))
        if asked is None or not asked.generator_key.startswith(name.generator):
            known = any(asked.generator_key.startswith(name.generator) for asked in self._stages)
            return _OTHER_PROMPT if known else _OTHER_MODEL
        if entry.model and not entry.model.startswith(self._model):
            return _OTHER_MODEL
        return asked, key, name.attempt


def _title(asked: AskedStage) -> str:
    return f"{asked.stage.number:>2} {asked.stage.kind}"
