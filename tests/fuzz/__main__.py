"""`make fuzz`: hostile input of every kind, and how often it was taken, refused in one line, or ended in a traceback.

An input depends on the seed, its kind and its number only: `python -m tests.fuzz --seed 1 --only store --first 77
--inputs 1` does one again.
"""

import argparse
import importlib
import pkgutil
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import tests.fuzz
from pipeline.console import info
from pipeline.report.tables import Table
from pipeline.report.text import format_table

LONGEST_LINE = 1000
SLOWEST = 20.0


def kinds() -> list[str]:
    """The modules of this folder."""
    names = [module.name for module in pkgutil.iter_modules(tests.fuzz.__path__)]
    return [name for name in names if not name.startswith(("_", "test_"))]


def one(kind: str, seed: int, number: int, folder: Path) -> str:
    """How one input ended: `ok`, `refused`, or what is wrong."""
    begin = time.process_time()  # another process may have all cores
    try:
        answer = importlib.import_module(f"tests.fuzz.{kind}").run_one(random.Random(f"{seed} {kind} {number}"), folder)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        traceback.print_exc()
        return "traceback"
    if time.process_time() - begin > SLOWEST:
        return "too slow"
    if answer == "ok":
        return answer
    return "refused" if len(answer) < LONGEST_LINE and "\n" not in answer and "\x1b" not in answer else "no single line"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each kind")
    parser.add_argument("--only", choices=kinds(), help="one kind")
    options = parser.parse_args()
    chosen = [options.only] if options.only else kinds()
    rows, faults = [], 0
    for kind in chosen:
        ends: Counter[str] = Counter()
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            for number in range(options.first, options.first + -(-options.inputs // len(chosen))):
                end = one(kind, options.seed, number, Path(folder))
                if end not in ("ok", "refused"):
                    info(f"{end}: python -m tests.fuzz --seed {options.seed} --only {kind} --first {number} --inputs 1")
                ends[end] += 1
        wrong = sum(ends.values()) - ends["ok"] - ends["refused"]
        faults += wrong
        counts = [sum(ends.values()), ends["ok"], ends["refused"], wrong, time.monotonic() - begin]
        rows.append([kind, *(f"{count:,.0f}" for count in counts)])
    info(f"seed {options.seed}")
    columns = ("inputs", "taken", "refused", "faults", "seconds")
    info(format_table(Table("", columns, tuple((name, tuple(cells)) for name, *cells in rows))))
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
