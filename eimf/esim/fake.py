"""An encoder and a generator without a model: deterministic and fast, for tests and for a dry run of a recipe.

They are real implementations of the interfaces: texts that share words have similar vectors, and interests are the
words that a history's titles share.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eimf.esim.generate import Reply, Request
from eimf.esim.markers import Markers
from eimf.store.keys import digest

_WORD = re.compile(r"[a-z]{2,}")
_TITLE = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)


class FakeEncoder:
    """Bag of words: every word has a fixed Gaussian direction, and a text is the sum of its words."""

    def __init__(self, width: int = 32) -> None:
        self.width = width
        self._words: dict[str, np.ndarray] = {}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self._text(text) for text in texts])

    def close(self) -> None:
        """Nothing to free."""

    def _text(self, text: str) -> np.ndarray:
        words = _WORD.findall(text.lower()) or [text]
        return np.stack([self._word(word) for word in words]).sum(axis=0)

    def _word(self, word: str) -> np.ndarray:
        if word not in self._words:
            seed = int(digest(word)[:16], 16)
            self._words[word] = np.random.default_rng(seed).standard_normal(self.width).astype(np.float32)
        return self._words[word]


class FakeRenderer:
    """A plain chat template."""

    _turns = Markers(["<system>", "<user>", "<assistant>"])

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        return "".join(f"<{message['role']}>\n{message['content']}\n" for message in messages)

    def as_data(self, text: str) -> str:
        return self._turns.escape(text)

    def count_tokens(self, prompt: str) -> int:
        return len(prompt.split())

    def markers(self, prompt: str) -> list[str]:
        return self._turns.find_all(prompt)


def _first_offer(slot: Mapping[str, Any]) -> dict[str, Any]:
    properties = slot["anyOf"][0]["properties"]
    numbers = [number["const"] for number in properties["items"]["prefixItems"]]
    return {"interest": properties["interest"]["const"], "items": numbers}


def _picks(titles: Sequence[tuple[int, set[str]]], num_candidates: int, most: int) -> str:
    """`titles` are numbers and words of the history and, after it, of the candidates."""
    history, candidates = titles[:-num_candidates], titles[-num_candidates:]
    known = Counter(word for _, words in history for word in words)
    ranked = sorted(candidates, key=lambda candidate: (-sum(known[word] for word in candidate[1]), candidate[0]))
    return json.dumps({str(number): True for number in sorted(number for number, _ in ranked[:most])})


class FakeGenerator:
    """Names the words that most titles of a history share, with those titles as evidence; of a closed vocabulary, the
    first phrase of each slot; of candidates for the next item, those whose words most titles of the history share; of
    an item, that it is for people who like its words.

    The fraction `malformed` of the attempts, chosen by their seed, returns broken JSON.
    """

    def __init__(self, max_interests: int, malformed: float = 0.0) -> None:
        self.max_interests, self.malformed = max_interests, malformed

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        for request in requests:
            text = self._reply(request)
            yield Reply(request.key, text, len(request.prompt.split()), len(text.split()), "stop")

    def close(self) -> None:
        """Nothing to free."""

    def _reply(self, request: Request) -> str:
        if np.random.default_rng(request.seed).random() < self.malformed:
            return '[{"interest": "half a'
        if "prefixItems" in request.json_schema:
            return json.dumps([_first_offer(slot) for slot in request.json_schema["prefixItems"]])
        last_turn = request.prompt.rsplit("<user>", 1)[-1]
        if "knowledge" in request.json_schema.get("properties", ()):
            words = " ".join(_WORD.findall(last_turn.lower()))
            return json.dumps({"knowledge": f"for people who like {words}"})
        titles = [(int(number), set(_WORD.findall(title.lower()))) for number, title in _TITLE.findall(last_turn)]
        if "properties" in request.json_schema:
            return _picks(titles, len(request.json_schema["properties"]), request.json_schema["maxProperties"])
        shared = Counter(word for _, words in titles for word in sorted(words))
        ranked = sorted(shared, key=lambda word: (-shared[word], word))[: self.max_interests]
        return json.dumps(
            [{"interest": word, "items": [number for number, words in titles if word in words][:6]} for word in ranked]
        )
