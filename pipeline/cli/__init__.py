"""The command line: parse, call, print. `eimf --help` lists the commands.

A command imports what it needs, so that each runs with its own packages installed: `eimf serve` without torch.
"""

from pipeline.cli.program import app, main, run

__all__ = ["app", "main", "run"]
