"""Ask an LLM what the reply store does not know yet: chunk by chunk, and each question once."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from eimf.store import keys
from eimf.store.artifact import Store
from eimf.store.replies import ReplyStore
from pipeline.console import Waiting, progress
from pipeline.stages.stage import this_process

if TYPE_CHECKING:
    from eimf.esim.generate import AnswerT, AskedT, Generator, Replies


@dataclass(frozen=True)
class Asking:
    """Where replies are kept and how often is asked: `store` keeps them, `chunk_size` at a time; a malformed one is
    asked for again at most `retries` times."""

    store: Store
    chunk_size: int
    retries: int

    def known(
        self,
        identity: Mapping[str, Any],
        questions: "Mapping[str, AskedT]",
        parse: "Callable[[str, AskedT], AnswerT]",
        limit: str = "llm.max_tokens",
    ) -> "Replies[AskedT, AnswerT]":
        """The replies to `questions` that the store has; asks nothing. The arguments are those of `ask`."""
        from eimf.esim.generate import Replies

        reply_store = pulled_replies(self.store, keys.digest(identity))
        return Replies(reply_store.find(questions.keys()), questions, parse, self.retries, limit)

    def ask(
        self,
        generator: "Callable[[], Generator]",
        identity: Mapping[str, Any],
        questions: "Mapping[str, AskedT]",
        parse: "Callable[[str, AskedT], AnswerT]",
        limit: str = "llm.max_tokens",
    ) -> "tuple[Replies[AskedT, AnswerT], int]":
        """The replies to all `questions` (by request key), and how many requests were sent. `identity` is that of the
        `generator`, which is only loaded if something is to be asked; `parse(reply, question)` reads a reply, and
        `limit` is the setting that limits its tokens."""
        from eimf.esim.generate import Replies, generate_missing

        key = keys.digest(identity)
        # Two runs never ask the same question twice.
        with self.store.lock(f"replies-{key}", this_process(), Waiting("asks the same LLM")):
            reply_store = pulled_replies(self.store, key)
            reply_store.compact()
            replies = Replies(reply_store.find(questions.keys()), questions, parse, self.retries, limit)
            with progress("asking the LLM", len(replies.pending()), "replies") as on_progress:
                num_sent = generate_missing(
                    generator,
                    questions,
                    replies,
                    chunk_size=self.chunk_size,
                    save=partial(keep_replies, self.store, key, reply_store),
                    on_progress=on_progress,
                )
        return replies, num_sent


def pulled_replies(store: Store, generator_key: str) -> ReplyStore:
    """The replies of a generator, all that the store has on this machine."""
    store.home.pull_replies(generator_key)
    return ReplyStore(store.root, generator_key)


def keep_replies(
    store: Store, generator_key: str, reply_store: ReplyStore, rows: "Iterable[dict[str, object]]"
) -> None:
    """Add rows (`schema.REPLIES`) to the replies of a generator, `reply_store`. The caller holds their lock."""
    reply_store.append(rows)
    store.home.push_replies(generator_key)
