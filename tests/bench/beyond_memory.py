"""Stages 1 to 5 with and without a bound of memory: bytes, memory and time of each stage, each in a process of its own.

    python -m tests.bench.beyond_memory data/30m --memory-gb 1000 .5      data/30m: of tests.bench.dataset_files
    python -m tests.bench.beyond_memory data/3m --stages 5 --memory-gb 1000 .1

Anonymous memory is what a process cannot give back; mapped pages of files are not in it. The fake encoder stands for a
real one, so stage 2 is not like one at work.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

PAUSE = 0.05


class Watch:
    """The most anonymous and the most resident memory of this process since it was last asked, MB."""

    def __init__(self) -> None:
        self._anonymous = self._resident = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def take(self) -> tuple[float, float]:
        most = self._anonymous, self._resident
        self._anonymous = self._resident = 0.0
        return most

    def _watch(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text().splitlines()
            held = {
                line.split(":")[0]: int(line.split()[1]) / 1024 for line in status if line.startswith(("VmR", "Rss"))
            }
            self._anonymous = max(self._anonymous, held["RssAnon"])
            self._resident = max(self._resident, held["VmRSS"])
            time.sleep(PAUSE)


def build(folder: Path, store: Path, stages: int, memory_gb: float) -> list[dict[str, Any]]:
    """What each stage took, and the sha256 of its files."""
    from eimf.store.artifact import Artifact, Store
    from pipeline.recipe import load_recipe
    from pipeline.stages.stage import find_or_build
    from pipeline.stages.stage_one import engines_of, stage_one

    settings = ["encoder.backend=fake", "llm.backend=fake", f"runtime.memory_gb={memory_gb}", "runtime.threads=1"]
    recipe = load_recipe("", folder / "recipe.toml", settings)
    home, watch, rows = Store(store), Watch(), []
    artifacts: dict[str, Artifact] = {}
    for stage in stage_one(recipe, engines_of(recipe, home), home)[:stages]:
        watch.take()
        begin, cpu = time.perf_counter(), time.process_time()
        artifacts[stage.kind], _ = find_or_build(stage, home, artifacts)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        time.sleep(2 * PAUSE)
        anonymous, resident = watch.take()
        files = {name: entry.sha256 for name, entry in sorted(artifacts[stage.kind].manifest.files.items())}
        rows.append({"stage": stage.kind, "s": seconds, "cpu": cpu, "anonymous": anonymous, "resident": resident})
        rows[-1]["files"] = files
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--memory-gb", type=float, nargs="+", default=[1000, 0.5])
    parser.add_argument("--stages", type=int, default=1, help="how many, from the first")
    parser.add_argument("--workdir", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        rows = build(options.folder, options.child, options.stages, options.memory_gb[0])
        print(json.dumps(rows))
        return
    print("| memory_gb | stage | s | CPU s | anonymous MB | resident MB |\n|--:|---|--:|--:|--:|--:|", flush=True)
    first: list[dict[str, Any]] = []
    for memory in options.memory_gb:
        store = Path(tempfile.mkdtemp(prefix="beyond-", dir=options.workdir))
        command = [sys.executable, "-m", "tests.bench.beyond_memory", str(options.folder), "--child", str(store)]
        command += ["--memory-gb", str(memory), "--stages", str(options.stages)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=os.environ)
        rows = json.loads(done.stdout.splitlines()[-1])
        shutil.rmtree(store)
        for row in rows:
            figures = " | ".join(f"{row[name]:,.0f}" for name in ("s", "cpu", "anonymous", "resident"))
            print(f"| {memory:g} | {row['stage']} | {figures} |", flush=True)
        first = first or rows
        assert [row["files"] for row in rows] == [row["files"] for row in first], "not the same bytes"
    print("\nThe files of all runs have the same bytes.")


if __name__ == "__main__":
    main()
