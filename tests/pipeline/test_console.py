"""What a person sees: never silent for long, never moved by a stranger's text, never a megabyte."""

import threading
import time

import pytest

from eimf.errors import DataError, printable, shortened
from pipeline import console


def test_without_a_terminal_a_long_silence_is_broken(capsys):
    with console.heartbeat(0.05, lambda: "still at work"):
        time.sleep(0.3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 2 and set(lines) == {"still at work"}


def test_a_heartbeat_does_not_begin_with_a_line(capsys):
    console.info("long ago")
    time.sleep(0.1)
    with console.heartbeat(0.1, lambda: "still at work"):
        time.sleep(0.05)
    assert capsys.readouterr().out == "long ago\n"


def test_a_heartbeat_waits_while_something_else_is_said(capsys):
    with console.heartbeat(0.2, lambda: "still at work"):
        for number in range(20):
            console.info(str(number))
            time.sleep(0.02)
    assert "still" not in capsys.readouterr().out


def test_a_bar_tells_how_far_it_has_come_and_what_is_left():
    bar = console.Bar(None, "asking", total=40, unit="replies")
    assert "asking: 0 of 40 replies after 0 s" in bar.line() and "left" not in bar.line()
    bar.skip(10)
    time.sleep(0.02)
    bar(10)
    assert "20 of 40 replies" in bar.line() and "about 0 s left" in bar.line()
    bar(20)
    assert "left" not in bar.line()


def test_who_waits_says_so_once_and_then_now_and_then(capsys):
    waiting = console.Waiting("builds clusters")
    for _ in range(3):
        waiting("process 7 on host")
    assert capsys.readouterr().out == "       waiting for process 7 on host, which builds clusters\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Amélie 東京 \u200c", "Amélie 東京 \u200c"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\rb\u2028c\u202ed", "a\\rb\\u2028c\\u202ed"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("no\u00a0break", "no break"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_what_would_move_a_terminal_is_written_out(text, shown):
    assert printable(text) == shown
    shown.encode()


def test_an_error_of_a_megabyte_is_a_few_hundred_characters():
    error = DataError("x" * 10**6, f"id {'y' * 10**6!r}", f"use one of {[f'column {n}' for n in range(10**4)]}")
    assert len(str(error)) < 800
    assert "(1,000,005 characters)" in str(error)
    assert str(DataError("a", "b", "c")) == "a: b; c"
    assert shortened("x" * 50, 50) == "x" * 50 and len(shortened("x" * 51, 50)) <= 50


def test_a_heartbeat_that_nobody_reads_ends_without_a_traceback(monkeypatch):
    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)

    def broken(text: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(console._OUTPUT, "write", broken)
    with console.heartbeat(0.01, lambda: "still at work"):
        time.sleep(0.05)
    assert errors == []
