"""Hostile replies, templates and titles, one an input: each is taken, or refused with one line."""

import json
import random
import tempfile
import time
from functools import cache
from pathlib import Path

from eimf.errors import UserError
from eimf.esim.chat import ChatRenderer
from eimf.esim.parse import parse_reply
from eimf.esim.prompt import PromptWriter, load_template, messages
from tests.esim.chats import CHATS, write_chat

_PIECES = ["[", "]", "{", "}", '"', ",", ":", "\\", "\\u", "\n", "1", "9" * 40, "-", "true", "nul", "interest", "items"]
_PIECES += ['{"interest": "jazz", "items": [1, 2]}', '[{"interest": "', "\ud83d", "é", "\0", " "]
_TOML = ["version", "system", "examples", "titles", "interests", "interest", "items", "=", "1", "'a'", '"b"', "[", "]"]
_TOML += [
    "[[examples]]\n",
    "{",
    "}",
    ",",
    "\n",
    '"""',
    "\\",
    "é",
    "\ufeff",
    "0x",
    "9" * 50,
    "nan",
    "1979-05-27",
    "#",
    " ",
]
_VALID = 'version = 1\nsystem = "Say."\n[[examples]]\ntitles = ["a"]\ninterests = [{ interest = "b", items = [1] }]\n'
_MARKERS = sorted({text for chat in CHATS.values() for text in (*chat.special, *chat.added, *chat.plain)})


def run_one(rng: random.Random, folder: Path) -> str:
    """Make one input by `rng`, run it, and return "ok" or the words of the refusal. Any other error passes through."""
    try:
        rng.choice((_reply, _template, _titles))(rng, folder)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000, "a refusal is one line"
        return str(error)
    return "ok"


def _text(rng: random.Random, pieces: list[str], most: int) -> str:
    text = "".join(rng.choice(pieces) * rng.choice((1, 1, 1, 2, 50)) for _ in range(rng.randrange(most)))
    start = rng.randrange(len(text) + 1) if rng.random() < 0.3 else 0
    return text[start:] * (rng.choice((1, 1, 1, 1, 300)) if len(text) < 3000 else 1)


def _reply(rng: random.Random, folder: Path) -> None:
    reply = _text(rng, _PIECES, 60)
    if rng.random() < 0.3:
        entries = [{"interest": "abcdef"[: rng.randrange(6)], "items": [rng.randrange(9)]} for _ in range(4)]
        reply = json.dumps(entries)[: rng.randrange(120)] + reply
    begin = time.thread_time()
    parsed = parse_reply(reply, 5, frozenset({"a"}), 3)
    assert time.thread_time() - begin < 1, f"{len(reply)} characters took {time.thread_time() - begin:.1f} s"
    assert (parsed.reason is None) == bool(parsed.interests) and len(parsed.interests) <= 3


def _template(rng: random.Random, folder: Path) -> None:
    content = _text(rng, _TOML, 40).encode("utf-8", "surrogatepass")
    if rng.random() < 0.5:
        begin = rng.randrange(len(_VALID))
        content = _VALID[:begin].encode() + content[: rng.randrange(9)] + _VALID[begin + rng.randrange(3) :].encode()
    name = rng.choice(
        ("mine.toml", "mine.toml", "mine.toml", "x" * rng.randrange(9000), "movies", "a/../mine.toml", "\0")
    )
    (folder / "mine.toml").write_bytes(content)
    template = load_template(name, folder)
    assert messages(template, ["Heat"])[-1]["content"] == "1. Heat" and template.example_phrases() is not None


@cache
def _renderer(name: str) -> ChatRenderer:
    with tempfile.TemporaryDirectory() as folder:
        return ChatRenderer(write_chat(CHATS[name], Path(folder)))


def _titles(rng: random.Random, folder: Path) -> None:
    renderer, template = _renderer(rng.choice(sorted(CHATS))), load_template("movies", folder)
    pieces = [*_MARKERS, *(text[: len(text) // 2] for text in _MARKERS), *"<|>[]/_: \n\r\t\0\u2028\uff1c▁", "red apple"]
    titles = [_text(rng, pieces, 12)[: rng.choice((80, 5, 300))] for _ in range(rng.randrange(1, 5))]
    writer = PromptWriter(template, renderer)
    prompt, harmless = writer.write(titles), writer.write(["red apple"] * len(titles))
    assert renderer.markers(prompt) == renderer.markers(harmless), f"a special token out of {titles!r}"
    assert len(prompt.splitlines()) == len(harmless.splitlines()), f"a line of its own out of {titles!r}"
