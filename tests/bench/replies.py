"""Seconds and peak memory of the reply store: append, merge, look up, resume, verify; and of asking with the fake LLM.

    python -m tests.bench.replies --rows 10000000 --chunk 4096 --folder /tmp/rows    prints a table, removes the folder
    python -m tests.bench.replies --ask 1000000 --chunk 1024 --folder /tmp/rows      generate_missing, with the fake LLM

Each line is a process of its own, so that its peak memory is its own. A reply has 60 words of a vocabulary of 20,000.
"""

import argparse
import multiprocessing
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from eimf import schema
from eimf.esim.fake import FakeGenerator
from eimf.esim.generate import Question, Replies, generate_missing
from eimf.esim.parse import Parsed, parse_reply
from eimf.store.keys import bytes_digest
from eimf.store.replies import ReplyStore

GENERATOR, WORDS, LENGTH, TITLES = "0" * 64, 20_000, 60, 10
HEADER = "| what | s | rows/s | peak MB |\n|---|--:|--:|--:|"


def request_key(number: int) -> str:
    """The key of the request of this number."""
    return bytes_digest(number.to_bytes(8, "big"))


def chunks(start: int, end: int, size: int) -> Iterator[list[dict[str, object]]]:
    """Rows of the requests from `start` to `end`, some at a time."""
    random = np.random.default_rng(start)
    words = np.array([bytes_digest(number.to_bytes(4, "big"))[: 2 + number % 6] for number in range(WORDS)])
    for first in range(start, end, size):
        texts = words[(WORDS * random.random((min(size, end - first), LENGTH)) ** 2).astype(int)]
        yield [
            dict(zip(schema.REPLIES.names, (request_key(first + row), 0, " ".join(text), 700, 60, "stop"), strict=True))
            for row, text in enumerate(texts)
        ]


def measure(name: str, rows: int, work: Callable[..., object], *values: object) -> None:
    """Run `work` in a process and print a line. What it returns is shown after the name."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, peak, note = pool.apply(_measured, (work, values))
    note = "" if note is None else f", {note}"
    print(f"| {name}{note} | {seconds:.1f} | {rows / seconds:,.0f} | {peak:,.0f} |", flush=True)


def _measured(work: Callable[..., object], values: tuple[object, ...]) -> tuple[float, float, object]:
    begin = time.monotonic()
    note = work(*values)
    return time.monotonic() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, note


def append(root: Path, rows: int, chunk: int) -> str:
    """Append in chunks, merged as in a run."""
    replies = ReplyStore(root, GENERATOR)
    for rows_of_chunk in chunks(0, rows, chunk):
        replies.append(rows_of_chunk)
    return size(root)


def append_unmerged(root: Path, rows: int, chunk: int) -> str:
    """Append in chunks, as before there was merging."""
    replies = ReplyStore(root, GENERATOR, most_parts=1 << 40)
    for rows_of_chunk in chunks(0, rows, chunk):
        replies.append(rows_of_chunk)
    return size(root)


def size(root: Path) -> str:
    """Files and bytes of the store."""
    files = list(root.glob("replies/*/*.parquet"))
    return f"{len(files):,} parts of {sum(path.stat().st_size for path in files) / 1e6:,.0f} MB"


def compact(root: Path) -> str:
    """Merge what is there."""
    ReplyStore(root, GENERATOR).compact()
    return size(root)


def look_up(root: Path, rows: int, count: int) -> str:
    """Find the rows of requests that are spread over the store, and of as many others."""
    wanted = {request_key(number) for number in range(0, rows, max(1, rows // count))}
    wanted |= {request_key(rows + number) for number in range(count)}
    return f"{ReplyStore(root, GENERATOR).find(wanted).num_rows:,} found"


def parse(reply: str, question: Question) -> Parsed:
    """A reply as the stage interests reads it."""
    return parse_reply(reply, question.num_titles, frozenset(), 4, question.offered)


def resume(root: Path, count: int) -> str:
    """What a run of `count` requests that all have a reply does before it asks."""
    questions = {request_key(number): Question("", TITLES) for number in range(count)}
    replies = Replies(ReplyStore(root, GENERATOR).find(questions.keys()), questions, parse, 0)
    return f"{len(replies.pending()):,} to be asked"


def verify(root: Path) -> None:
    """Check every part."""
    ReplyStore(root, GENERATOR).verify()


def ask(root: Path, count: int, chunk: int) -> str:
    """Ask the fake LLM, and keep its replies."""
    titles = "\n".join(f"{number}. the red hen {number}" for number in range(1, TITLES + 1))
    questions = {request_key(number): Question(f"<user>\n{titles}\nUser {number}\n", TITLES) for number in range(count)}
    store = ReplyStore(root, GENERATOR)
    replies = Replies(store.find(questions.keys()), questions, parse, 1)
    sent = generate_missing(
        lambda: FakeGenerator(4), questions, replies, chunk_size=chunk, save=store.append, on_progress=lambda _: None
    )
    return f"{sent:,} sent"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--ask", type=int, default=0)
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--folder", type=Path, required=True, help="must not exist; removed in the end")
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    print(HEADER)
    try:
        if rows := given.rows:
            measure(f"append, {given.chunk} a chunk", rows, append, given.folder, rows, given.chunk)
            for count in (1000, 100_000):
                measure(f"look up {2 * count:,} requests", rows, look_up, given.folder, rows, count)
            for count in (1000, 100_000, 1_000_000):
                measure(f"resume a run of {count:,}", rows, resume, given.folder, count)
            measure("verify", rows, verify, given.folder)
            few, old = min(rows, 100_000), given.folder / "old"
            measure(f"append {few:,}, never merged", few, append_unmerged, old, few, given.chunk)
            measure("look up 2,000 of them", few, look_up, old, few, 1000)
            measure("merge them", few, compact, old)
        if given.ask:
            folder = given.folder / "ask"
            measure(f"ask, {given.chunk} a chunk", given.ask, ask, folder, given.ask, given.chunk)
    finally:
        shutil.rmtree(given.folder)


if __name__ == "__main__":
    main()
