"""The fake LLM through Ray and in this process: requests a second, and whether the row stores hold the same rows.

`python -m tests.bench.ray_engine --requests 1000000 --replicas 2`, with the extra esim-ray installed.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from eimf import schema
from eimf.config import RuntimeSettings
from eimf.esim.fake import FakeGenerator
from eimf.esim.generate import Generator, Reply, Request
from eimf.esim.ray_engine import RayGenerator
from eimf.store.keys import digest
from eimf.store.replies import ReplyStore
from pipeline.backends.ray_cluster import RayCluster

CHUNK = 2000
"""Replies of a part."""


def requests(count: int) -> list[Request]:
    """Histories of two titles, so that the fake LLM costs as little as possible."""
    return [Request(digest(number), f"<user>\n1. jazz {number}\n2. jazz", number) for number in range(count)]


def on_ray(replicas: int) -> Generator:
    cluster = RayCluster(None)
    pool = cluster.pool(RuntimeSettings(replicas=replicas))
    return RayGenerator(cluster, partial(FakeGenerator, 3), pool, time.monotonic)


def fill(store: ReplyStore, replies: Iterator[Reply]) -> None:
    while chunk := list(islice(replies, CHUNK)):
        values = [(r.key, 0, r.text, r.prompt_tokens, r.reply_tokens, r.finish_reason) for r in chunk]
        store.append(dict(zip(schema.REPLIES.names, row, strict=True)) for row in values)


def rows(store: ReplyStore) -> pa.Table:
    """What a store holds, sorted: parts depend on the order of arrival."""
    return (
        ds.dataset([str(path) for path in store.folder.glob("*.parquet")])
        .to_table()
        .sort_by(schema.REQUEST_KEY)
        .combine_chunks()
    )


def measure(name: str, engine: Generator, asked: Sequence[Request], root: Path) -> pa.Table:
    with closing(engine):
        begin = time.monotonic()
        fill(store := ReplyStore(root, name), engine.generate(asked))
        seconds = time.monotonic() - begin
    print(f"{name:10} {len(asked):,} requests, {seconds:.1f} s, {len(asked) / seconds:,.0f} requests/s", flush=True)
    return rows(store)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--replicas", type=int, default=2)
    arguments = parser.parse_args()
    asked = requests(arguments.requests)
    with tempfile.TemporaryDirectory() as folder:
        here = measure("in-process", FakeGenerator(3), asked, Path(folder))
        ray = measure("ray", on_ray(arguments.replicas), asked, Path(folder))
    print(f"the same rows: {here.equals(ray) and len(here) == len(asked)}")


if __name__ == "__main__":
    main()
