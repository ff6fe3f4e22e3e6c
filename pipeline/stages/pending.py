"""What a recipe asks an LLM, stage by stage, without asking it: for batch files."""

from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.store import keys
from eimf.store.artifact import Artifact, Store
from eimf.store.replies import ReplyStore
from pipeline.console import Waiting
from pipeline.recipe import Recipe
from pipeline.stages.asking import Asking, keep_replies
from pipeline.stages.item_table import require_item_table, require_texts
from pipeline.stages.stage import Stage, find_or_build, keys_of, this_process
from pipeline.stages.stage_one import engines_of, stage_one

if TYPE_CHECKING:
    from collections.abc import Callable

    from eimf.esim.generate import AnswerT, AskedT, Generator, Replies, Row

_AFTER = ("interest_vectors", "esim")
"""Stages that need all replies."""


class _Noted(Exception):
    """A stage would have asked; what it would have asked is noted."""


@dataclass(frozen=True)
class _Noting(Asking):
    """Asks nobody: notes what is to be asked, and ends the stage."""

    notes: "list[tuple[Mapping[str, Any], Mapping[str, Any], Replies[Any, Any]]]" = field(default_factory=list)
    """Identity of the LLM, questions, known replies."""

    def ask(
        self,
        generator: "Callable[[], Generator]",
        identity: Mapping[str, Any],
        questions: "Mapping[str, AskedT]",
        parse: "Callable[[str, AskedT], AnswerT]",
        limit: str = "llm.max_tokens",
    ) -> "tuple[Replies[AskedT, AnswerT], int]":
        self.notes.append((identity, questions, self.known(identity, questions, parse, limit)))
        raise _Noted


@dataclass(frozen=True)
class AskedStage:
    """What one stage asks: the `identity` of the LLM, the `questions` by request key, the replies that the store has.
    Of `ids`, which are user or item ids as in the raw data, each is the subject of a request: `subject` says which of
    them they are."""

    stage: Stage
    store: Store
    identity: Mapping[str, Any]
    questions: Mapping[str, Any]
    replies: "Replies[Any, Any]"
    subject: str
    ids: Mapping[str, str]

    @cached_property
    def generator_key(self) -> str:
        return keys.digest(self.identity)

    def save(self, rows: "list[Row]") -> None:
        """Keep these rows (`schema.REPLIES`) as if the LLM had been asked."""
        with self.store.lock(f"replies-{self.generator_key}", this_process(), Waiting("asks the same LLM")):
            keep_replies(self.store, self.generator_key, ReplyStore(self.store.root, self.generator_key), rows)


def asked_stages(recipe: Recipe, store: Store) -> list[AskedStage]:
    """What stages 1b, 7 and 7a ask, those before them built. Without all replies to 1b, the later ones are not known
    yet."""
    store.remove_stale()
    require_item_table(recipe, "stage one")
    noting = _Noting(store, recipe.runtime.reply_chunk_size, recipe.llm.retries)
    asking = {"interests", "picks", *(["item_knowledge"] if recipe.item_knowledge.asks_llm else [])}
    found: list[AskedStage] = []
    artifacts: dict[str, Artifact] = {}
    with closing(engines_of(recipe, store)) as engines:
        stages = zip(stage_one(recipe, engines, store), stage_one(recipe, engines, store, noting), strict=True)
        for stage, noted in stages:
            if stage.kind in _AFTER:
                continue
            if stage.kind in asking:
                found.append(_note(noted, noting, store, artifacts))
                if stage.kind == "item_knowledge" and found[-1].replies.pending():
                    break
            if stage.kind not in ("interests", "picks"):
                artifacts[stage.kind], _ = find_or_build(stage, store, artifacts)
            if stage.kind == "dataset":
                require_texts(artifacts["dataset"], "stage one")
    return found


def _note(stage: Stage, noting: _Noting, store: Store, artifacts: Mapping[str, Artifact]) -> AskedStage:
    with store.staging(stage.key(keys_of(artifacts))) as staging, suppress(_Noted):
        stage.build(artifacts, staging)
    identity, questions, replies = noting.notes[-1]
    subject, ids = _subjects(stage.kind, questions, artifacts)
    return AskedStage(stage, store, identity, questions, replies, subject, ids)


def _subjects(
    kind: str, questions: Mapping[str, Any], artifacts: Mapping[str, Artifact]
) -> tuple[str, Mapping[str, str]]:
    """What requests are about, and the request key by the id of that."""
    dataset = artifacts["dataset"]
    if kind == "item_knowledge":
        items = dataset.table("items", [schema.ITEM_ID, schema.TEXT])
        by_text = {question.item: key for key, question in questions.items()}
        rows = zip(*(items[name].to_pylist() for name in (schema.ITEM_ID, schema.TEXT)), strict=True)
        return schema.ITEM_ID, {item: by_text[text] for item, text in rows if text in by_text}
    if kind != "interests":
        return "", {}
    users = dataset.table("users", [schema.USER_ID])[schema.USER_ID].to_pylist()
    requests = artifacts["requests"].table("requests", [schema.REQUEST_KEY, schema.USER])
    rows = zip(*(requests[name].to_pylist() for name in (schema.USER, schema.REQUEST_KEY)), strict=True)
    return schema.USER_ID, {users[user]: key for user, key in rows}
