"""Engines that die or fall silent, for the tests of the Ray engine: their processes import this file."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eimf.errors import ModelError, SettingError
from eimf.esim.fake import FakeGenerator
from eimf.esim.generate import Generator, Reply, Request


@dataclass(frozen=True)
class Trouble:
    """Makes engines that meet trouble at the request with key `at`: so many `times` in all, counted in `folder`, where
    each engine leaves its process id. `pause` is the time of a reply, seconds."""

    folder: Path
    kind: str = ""
    at: str = ""
    times: int = 1
    pause: float = 0.0

    def __call__(self) -> Generator:
        if self.kind == "start":
            raise ModelError("llm.model", "no such model", "give another")
        (self.folder / f"{os.getpid()}.pid").touch()
        return Troubled(self)


class Troubled(FakeGenerator):
    def __init__(self, trouble: Trouble) -> None:
        super().__init__(max_interests=3)
        self._trouble = trouble

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        for request, reply in zip(requests, super().generate(requests), strict=True):
            time.sleep(self._trouble.pause)
            if request.key == self._trouble.at and self._again():
                self._meet()
            yield reply

    def _again(self) -> bool:
        count = len(list(self._trouble.folder.glob("*.met")))
        (self._trouble.folder / f"{count}.met").touch()
        return count < self._trouble.times

    def _meet(self) -> None:
        if self._trouble.kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._trouble.kind == "setting":
            raise SettingError("llm.max_prompt_tokens", "100, but a prompt has 200 tokens", "raise it")
        time.sleep(3600)
