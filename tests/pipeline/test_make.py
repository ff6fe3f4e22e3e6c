"""Values that a user gives to make are text, never read as make's or the shell's own language."""

import subprocess
from pathlib import Path

import pytest

from pipeline.recipe import split_settings

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "x'; touch pwned; '",
    "$(shell touch pwned)",
    "`touch pwned`",
    '"; touch pwned; "',
    "a'b",
    "$(touch pwned)",
    "a b",
]
RECORDER = """#!/bin/sh
printf '%s\\n' "$0 $#" "$@" > called
"""


@pytest.fixture
def place(tmp_path):
    """A folder with the Makefile and an environment whose `eimf` only notes how it was called."""
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("eimf", "torchrun", "python"):
        (tmp_path / ".venv" / "bin" / name).write_text(RECORDER)
        (tmp_path / ".venv" / "bin" / name).chmod(0o755)
    for mark in (".core", ".data", ".esim", ".export", ".serve", ".search", ".report", ".dev"):
        (tmp_path / ".venv" / mark).write_text("")
    return tmp_path


def called(place: Path, *arguments: str) -> list[str]:
    subprocess.run(["make", *arguments], cwd=place, capture_output=True, text=True, check=True)
    lines = (place / "called").read_text().splitlines()
    assert int(lines[0].split()[-1]) == len(lines) - 1
    return lines[1:]


@pytest.mark.parametrize("value", HOSTILE)
def test_every_variable_is_one_word(place, value):
    assert called(place, "esim", f"DATASET={value}", f"STORE={value}") == ["esim", "--dataset", value, "--store", value]
    words = called(
        place, "train", f"RECIPE={value}", f"BACKBONE={value}", f"PRESET={value}", f"ESIM={value}", f"SET={value}"
    )
    wanted = ["--recipe", value, "--store", "artifacts", "--settings", value, "--backbone", value, "--preset", value]
    assert words == ["train", *wanted, "--esim", value]
    words = called(place, "sweep", f"PLAN={value}", f"WORKERS={value}")
    assert words == ["sweep", "--store", "artifacts", "--workers", value, "--", value]
    words = called(place, "search", f"PLAN={value}", f"WORKERS={value}")
    assert words == ["search", "--store", "artifacts", "--workers", value, "--", value]
    words = called(place, "report", f"PLAN={value}", f"REPORT={value}")
    assert words == ["report", "--store", "artifacts", "--plan", value, "--output", value]
    words = called(place, "train", f"PROCESSES={value}")
    assert words[:3] == ["--standalone", "--nproc-per-node", value]
    words = called(place, "export", f"CHECKPOINT={value}", f"BUNDLE={value}")
    assert words == ["export", "--store", "artifacts", "--output", value, "--", value]
    words = called(place, "export", f"DATASET={value}", "BACKBONE=")
    assert words == ["export", "--dataset", value, "--store", "artifacts", "--output", "bundle"]
    words = called(place, "card", f"RECIPE={value}", f"CARD={value}")
    assert words == ["data", "card", "--recipe", value, "--store", "artifacts", "--output", value]
    assert called(place, "serve", f"BUNDLE={value}") == ["serve", "--", value]
    subprocess.run(["make", "-n", "status", f"STORE={value}"], cwd=place, capture_output=True, check=True)
    assert called(place, "status", f"STORE={value}") == ["status", "--store", value]
    assert not (place / "pwned").exists()


def test_an_endpoint_alone_is_asked_over_http(place):
    words = called(place, "esim", "ENDPOINT=http://a b/v1")
    assert words[-4:] == ["--set", "runtime.engine=http", "--set", "runtime.endpoint=http://a b/v1"]
    assert called(place, "esim", "ENGINE=ray x")[-2:] == ["--set", "runtime.engine=ray x"]


@pytest.mark.parametrize(
    ("target", "arguments", "installs"),
    [
        ("esim", ["STORE=s3://a/b"], {".bucket", ".core", ".esim"}),
        ("train", ["STORE=s3://a/b"], {".bucket", ".core"}),
        ("export", ["STORE=s3://a/b", "BUNDLE=s3://a/c"], {".bucket", ".core", ".export"}),
        ("serve", ["BUNDLE=s3://a/c"], {".bucket", ".serve"}),
        ("serve", [], {".serve"}),
    ],
)
def test_a_machine_gets_what_its_commands_need_and_nothing_else(place, target, arguments, installs):
    marks = sorted(place.glob(".venv/.*"))
    for mark in marks:
        mark.unlink()
    subprocess.run(["make", target, *arguments], cwd=place, capture_output=True, check=True)
    assert {mark.name for mark in place.glob(".venv/.*")} == installs


def test_settings_are_apart_at_blanks_that_are_in_no_quotes_and_no_brackets():
    text = """train.lr=5e-4  heads.preset="paper" dataset.name='my shop' a.b="x \\"y z" """
    text += """evaluate.cutoffs=[1, 10]\tc.d=["e f", "]"]"""
    assert split_settings(text) == [
        "train.lr=5e-4",
        'heads.preset="paper"',
        "dataset.name='my shop'",
        'a.b="x \\"y z"',
        "evaluate.cutoffs=[1, 10]",
        'c.d=["e f", "]"]',
    ]
    assert split_settings("") == [] and split_settings("a.b='c d") == ["a.b='c", "d"]
