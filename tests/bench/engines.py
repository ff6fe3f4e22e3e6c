"""The requests of a dataset to its LLM through each engine, beside one bare call of vLLM, in alternation.

    python -m tests.bench.engines --dataset ml-100k --store artifacts --rounds 3
    python -m tests.bench.engines --recipe tests/studies/beauty.toml --store FOLDER --every 4 --engines bare vllm http

Each measurement is a process of its own (tests/bench/engine_side.py): the bare call answers all requests and returns,
the engines do row 7 as `eimf esim` does, with parts written to a store. All have the same weights, sampling, schemas
and memory. The start is not part of the time. What is before row 7 is built in the store if it is missing; no reply is
taken from there. Ray needs the extra esim-ray, http the extra esim-http.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.bench.engine_side import ENGINES, Measured

HEADER = (
    "| engine | start, s | answers, s | times bare "
    "| prompt tokens/s | reply tokens/s | prefix cache | replies as bare |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|"
)


def measured(engine: str, arguments: list[str]) -> Measured:
    """Answer all requests in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "tests.bench.engine_side", engine, "--result", str(result), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return Measured(**json.loads(result.read_text()))


def line(engine: str, runs: list[Measured], bare: list[Measured]) -> str:
    """A line of the table: medians over rounds, and all seconds; the ratio is that of the medians. Without the bare
    call, `bare` is the first engine."""
    seconds = [run.seconds for run in runs]
    last, base = runs[-1], bare[-1]
    same = sum(base.replies[key] == reply for key, reply in last.replies.items())
    cells = [
        engine,
        f"{median(run.start_seconds for run in runs):.1f}",
        " ".join(f"{value:.1f}" for value in seconds),
        f"{median(seconds) / median(run.seconds for run in bare):.3f}",
        f"{last.prompt_tokens / median(seconds):,.0f}",
        f"{last.reply_tokens / median(seconds):,.1f}",
        f"{last.cached_tokens / last.prompt_tokens:.1%}",
        f"{same} of {len(last.replies)}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=None)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--store", default="artifacts")
    parser.add_argument("--set", action="append", default=[], help="a setting of the recipe; may be repeated")
    parser.add_argument("--every", type=int, default=1, help="take only every so many requests")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    given = parser.parse_args()
    arguments = ["--dataset", given.dataset, "--store", given.store, "--every", str(given.every)]
    arguments += ["--recipe", str(given.recipe)] if given.recipe else []
    arguments += [word for value in given.set for word in ("--set", value)]
    runs: dict[str, list[Measured]] = {engine: [] for engine in given.engines}
    for number in range(given.rounds):
        for engine in given.engines[:: 1 if number % 2 == 0 else -1]:
            runs[engine].append(run := measured(engine, arguments))
            print(f"round {number + 1}, {engine}: {run.sent} requests, {run.seconds:.1f} s", flush=True)
    print(f"\n{HEADER}")
    for engine in given.engines:
        print(line(engine, runs[engine], runs.get("bare", runs[given.engines[0]])))


if __name__ == "__main__":
    main()
