"""Kill stage one at half of its replies, with the real engine, and run it again: is a reply lost, repeated or changed?

    python -m tests.kill_engine --store STORE --folder FOLDER [--recipe my.toml] [--set runtime.engine=ray]

`STORE` has stage one of the recipe, built without interruption; a run to be killed begins in FOLDER with what is before
the replies. Compares the replies and the frozen artifacts of both; tests/pipeline/test_kill.py has the fake LLM.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from eimf import schema
from eimf.store.artifact import Artifact, Store

BEFORE = ("dataset", "item_vectors", "user_vectors", "clusters", "typical_users", "requests")
CHUNK = 4
"""Replies that are written at a time."""


def replies(store: Store) -> pa.Table:
    """Every reply in a store; none if there is no part yet."""
    parts = [str(path) for path in store.root.glob("replies/*/*.parquet")]
    return ds.dataset(parts).to_table() if parts else schema.REPLIES.empty_table()


def only(store: Store, kind: str) -> Artifact:
    """The one artifact of a kind."""
    ((_, key),) = [member for member in store.listing() if member[0] == kind]
    return store.get(kind, key)


def texts(table: pa.Table) -> dict[tuple[str, int], str]:
    """Replies by request and attempt."""
    columns = (table[name].to_pylist() for name in (schema.REQUEST_KEY, schema.ATTEMPT, schema.REPLY))
    return {(key, attempt): reply for key, attempt, reply in zip(*columns, strict=True)}


def killed_at(command: list[str], store: Store, count: int) -> None:
    """Run a command, and kill it with SIGKILL once so many replies are stored."""
    process = subprocess.Popen(command)
    while process.poll() is None and replies(store).num_rows < count:
        time.sleep(0.2)
    assert process.poll() is None, "it ended before it was killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="must not exist")
    parser.add_argument("--recipe", type=Path, default=None)
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    whole, store = Store(given.store), Store(given.folder)
    for kind in BEFORE:
        shutil.copytree(whole.root / kind, store.root / kind)
    count = only(whole, "requests").manifest.summary["requests"]
    settings = [*given.set, f"runtime.reply_chunk_size={CHUNK}"]
    options = [word for value in settings for word in ("--set", value)]
    options += ["--recipe", str(given.recipe)] if given.recipe else []
    start = "from pipeline.cli import main; main()"
    command = [sys.executable, "-c", start, "esim", "--store", str(store.root), *options]
    killed_at(command, store, count // 2)
    kept = texts(replies(store))
    print(f"killed: {len(kept)} of {count} replies are stored", flush=True)
    subprocess.run(command, check=True)
    table = replies(store)
    again, before = texts(table), texts(replies(whole))
    assert again.items() >= kept.items(), "a reply is lost"
    assert table.num_rows == len(again), "a reply is stored twice"
    sent = only(store, "interests").manifest.summary["llm_requests"]
    print(f"run again: {sent} requests sent; {table.num_rows} replies, none lost, none repeated")
    same = sum(before.get(key) == reply for key, reply in again.items())
    print(f"{same} of {len(again)} replies are those of the uninterrupted run")
    for kind in ("interests", "esim"):
        files = [{name: entry.sha256 for name, entry in only(s, kind).manifest.files.items()} for s in (whole, store)]
        print(f"{kind}: {'the same bytes' if files[0] == files[1] else 'other bytes'}")


if __name__ == "__main__":
    main()
