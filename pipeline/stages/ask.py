"""Ask the LLM what it has not answered yet; every reply is in the reply store before the next one is waited for."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from eimf.store import keys
from eimf.store.artifact import Store
from eimf.store.replies import ReplyStore
from pipeline.backends.engines import Engines
from pipeline.console import Waiting, progress
from pipeline.stages.stage import this_process

if TYPE_CHECKING:
    from eimf.esim.generate import P, Question, Replies


def ask(
    questions: "Mapping[str, Question]",
    parse: "Callable[[str, Question], P]",
    retries: int,
    engines: Engines,
    identity: Mapping[str, Any],
    store: Store,
    chunk_size: int,
) -> "tuple[Replies[P], int]":
    """The replies to `questions`, by request key, and how many requests were sent. `identity` is what determines a
    reply in addition to its prompt; `parse` reads one. `store` keeps the replies, `chunk_size` at a time."""
    from eimf.esim.generate import Replies, generate_missing

    generator = keys.digest(identity)
    reply_store = ReplyStore(store.root, generator)
    # Two runs never ask twice about a user that both of them need.
    with store.lock(f"replies-{generator}", this_process(), Waiting("asks the same LLM")):
        replies = Replies(reply_store.read(), questions, parse, retries)
        with progress("asking the LLM", len(replies.pending()), "replies") as on_progress:
            num_sent = generate_missing(
                engines.generator,
                questions,
                replies,
                chunk_size=chunk_size,
                save=reply_store.append,
                on_progress=on_progress,
            )
    return replies, num_sent
