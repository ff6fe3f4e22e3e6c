"""The commands that a README or a help page shows, checked without running them."""

import re
import shlex
from pathlib import Path

import typer

from pipeline.cli import app
from pipeline.cli.help import CommandPage, GroupPage
from pipeline.recipe import load_recipe, split_settings

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = typer.main.get_command(app)
GROUPS: dict[str, GroupPage] = {name: page for name, page in PROGRAM.commands.items() if isinstance(page, GroupPage)}
COMMANDS: dict[str, CommandPage] = {
    **{name: page for name, page in PROGRAM.commands.items() if name not in GROUPS},
    **{f"{group} {name}": page for group in GROUPS for name, page in GROUPS[group].commands.items()},
}
"""Every command by what is typed for it, such as `train` and `data formats`."""
_MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", _MAKEFILE, re.MULTILINE)) | {".venv/.core"}
VARIABLES = dict(re.findall(r"^#: ([A-Z_]+)=\S*(?: \S+\")? +(\S.*)$", _MAKEFILE, re.MULTILINE))
"""The variables that `make help` explains, with the explanation."""
_ONE = r"(?:\.venv/bin/)?(?:make|eimf) [^`#\n]+"


def shown(markdown: str) -> list[str]:
    """Every command of make or eimf in a README: code spans, lines of code, and comments that say how to run a file."""
    spans = re.findall(rf"`({_ONE})`", markdown)
    lines = [re.sub(r"^# \S+:  ", "", line.strip()) for line in markdown.splitlines() if line.startswith("    ")]
    parts = [part.strip() for line in lines for part in line.split(" && ")]
    return spans + [match[0].strip() for part in parts if (match := re.match(_ONE, part))]


def check(line: str) -> None:
    """Raises if there is no such command or target, no such option or variable, or no such setting."""
    program, *words = shlex.split(line.removeprefix(".venv/bin/"))
    _check_eimf(words) if program == "eimf" else _check_make(words)


def _check_eimf(words: list[str]) -> None:
    if words[0].startswith("-"):
        assert set(words) <= {name for parameter in PROGRAM.params for name in parameter.opts} | {"-h", "--help"}
        return
    if words[0] in GROUPS and len(words) == 1:
        return
    if words[0] in GROUPS:
        words = [" ".join(words[:2]), *words[2:]]
    with COMMANDS[words[0]].make_context(words[0], words[1:]) as context:
        chosen = context.params
    settings = [f'model.backbone="{chosen["backbone"]}"'] if chosen.get("backbone") else []
    settings += [f'heads.preset="{chosen["preset"]}"'] if chosen.get("preset") else []
    load_recipe("ml-100k", None, [*settings, *(chosen.get("settings") or [])])


def _check_make(words: list[str]) -> None:
    targets = [word for word in words if "=" not in word]
    values = dict(word.split("=", 1) for word in words if "=" in word)
    assert set(targets) <= TARGETS, targets
    assert values.keys() <= VARIABLES.keys() | {"BENCH_ARGS", "FUZZ_ARGS", "SERVE_ARGS"}, values
    for name in ("RECIPE", "PLAN"):
        path = values.get(name, "")
        assert not path.startswith("tests/") or (ROOT / path).is_file(), path
    settings = [f'model.backbone="{values["BACKBONE"]}"'] if "BACKBONE" in values else []
    settings += [f'heads.preset="{values["PRESET"]}"'] if "PRESET" in values else []
    load_recipe("ml-100k", None, [*settings, *split_settings(values.get("SET", ""))])
