"""The help pages: every command, every option, examples that parse."""

import re
import shutil
import subprocess

import pytest

from pipeline.cli import run
from pipeline.cli.examples import EXAMPLES
from tests.command_lines import COMMANDS, GROUPS, PROGRAM, ROOT, TARGETS, VARIABLES, check


def page(capsys, *words: str) -> str:
    assert run([*words, "--help"]) == 0
    return capsys.readouterr().out


def test_the_program_lists_every_command_with_its_whole_summary(capsys):
    text = page(capsys)
    texts = {"": text, **{group: page(capsys, group) for group in GROUPS}}
    for typed, command in {**COMMANDS, **GROUPS}.items():
        group, _, name = typed.rpartition(" ")
        summary = command.help.split("\n\n")[0]
        assert re.search(rf"^  {name} +{re.escape(summary)}$", texts[group], re.MULTILINE)
        assert summary.endswith(".") and summary[0].isupper()
    assert run([]) == 2 and capsys.readouterr().out == text == page(capsys)


def test_commands_are_those_of_the_readme():
    wanted = "demo esim extend train evaluate recommend export serve plan sweep search check backbones compare report"
    settings = "status verify recipe"
    stores = "ls show diff push pull pack unpack gc"
    assert list(COMMANDS) == [
        *wanted.split(),
        *settings.split(),
        "data formats",
        "data card",
        "requests export",
        "replies import",
        *(f"store {name}" for name in stores.split()),
    ]
    assert EXAMPLES.keys() == {"eimf", *GROUPS, *COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_explains_every_argument_and_option(name, capsys):
    text = page(capsys, *name.split())
    assert f"Usage: eimf {name} [OPTIONS]" in text
    assert max(map(len, text.splitlines())) <= 100
    for parameter in COMMANDS[name].params:
        assert parameter.help, parameter.name
        if parameter.param_type_name == "option":
            assert re.search(rf"^ +{re.escape(', '.join(sorted(parameter.opts, key=len)))}\b", text, re.MULTILINE)
        else:
            metavar = re.escape(parameter.metavar)
            assert re.search(rf"^  ({metavar}|\[{metavar}\](\.\.\.)?) ", text, re.MULTILINE)
    for line in EXAMPLES[name].splitlines():
        assert f"  {line}".rstrip() in text.splitlines()


def test_a_short_option_means_the_same_in_every_command_unless_it_names_an_output():
    meaning: dict[str, set[str]] = {}
    for command in [PROGRAM, *COMMANDS.values()]:
        for parameter in command.params:
            for name in parameter.opts:
                if re.fullmatch(r"-\w", name):
                    meaning.setdefault(name, set()).add(parameter.name)
    assert {name for name, parameters in meaning.items() if len(parameters) > 1} == {"-o"}
    assert set("drsSbpenuotw") <= {name[1] for name in meaning}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_parse(name):
    lines = EXAMPLES[name].splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    assert commands and all(line.startswith(("# ", "$ eimf ")) or not line for line in lines)
    for command in commands:
        check(command)


def test_the_check_of_examples_refuses_what_does_not_exist():
    for wrong in (
        "eimf trian",
        "eimf train --datasets x",
        "eimf train -S train.rl=1",
        "eimf recommend",
        "eimf data format",
        "make esmi",
        "make train BACKBON=sasrec",
        "make train SET=train.lr=fast",
        "make sweep PLAN=tests/none.toml",
    ):
        with pytest.raises(Exception):  # noqa: B017
            check(wrong)


def test_the_version_and_the_shell_completion(capsys, monkeypatch):
    assert run(["--version"]) == 0
    assert re.fullmatch(r"eimf \d+\.\d+\.\d+\n", capsys.readouterr().out)
    for line, wanted in (
        ("eimf st", "status"),
        ("eimf train --back", "--backbone"),
        ("eimf train -d ml", "ml-100k"),
        ("eimf esim -d Mak", "Makefile"),
    ):
        monkeypatch.setenv("_EIMF_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
        with pytest.raises(SystemExit):
            run([])
        assert wanted in capsys.readouterr().out.split()


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_make_help_explains_every_target_and_every_variable():
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony and TARGETS - {".venv/.core"} == set(phony[1].split())
    for target in phony[1].split():
        assert re.search(rf"^  {target} +\S", text, re.MULTILINE), target
    for variable in re.findall(r"^([A-Z_]+) *\?=", makefile, re.MULTILINE):
        assert re.search(rf"^  {variable}=.* {re.escape(VARIABLES[variable])}$", text, re.MULTILINE), variable
    for line in re.findall(r"^  (make .*)$", text, re.MULTILINE):
        check(line)
