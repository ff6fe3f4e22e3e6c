"""A small server with OpenAI's interface, for the engine that speaks to one: it answers like the fake LLM, and fails
when it is told to. `python -m tests.esim.openai_server PORT` runs it in a process of its own."""

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eimf.esim.fake import FakeGenerator, FakeRenderer
from eimf.esim.generate import Request

NAME = "little-model"
Status = tuple[int, dict[str, str], Any]


@dataclass
class Behaviour:
    """What the server does. `faults` are those of the requests by their number, from 0: an HTTP status, `429 N` with
    Retry-After N, drop, garbage, page, hang, drip; `always` is the fault of every request."""

    faults: Mapping[int, str] = field(default_factory=dict)
    always: str | None = None
    key: str | None = None
    models: tuple[str, ...] = (NAME,)
    owner: str = "vllm"
    writer: str | None = None
    """The model that replies, if it is not the one that was asked."""
    structured: bool = True
    seconds: float = 0.0
    malformed: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """The body of every request, in the order of their arrival."""
    answered: list[int] = field(default_factory=list)
    """Seeds of the requests that got a whole reply."""
    most: int = 0
    """Most requests that were there at a time."""
    now: int = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Behaviour
    lock: threading.Lock

    def log_message(self, *_: object) -> None:
        """Write no log."""

    def do_GET(self) -> None:
        if not self._refused():
            cards = [
                {"id": name, "object": "model", "owned_by": self.behaviour.owner} for name in self.behaviour.models
            ]
            found = self.path == "/v1/models"
            self._send(200 if found else 404, {"object": "list", "data": cards} if found else {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return
        behaviour = self.behaviour
        with self.lock:
            number = len(behaviour.bodies)
            behaviour.bodies.append(body)
            behaviour.now += 1
            behaviour.most = max(behaviour.most, behaviour.now)
        try:
            self._answer(body, behaviour.always or behaviour.faults.get(number))
        finally:
            with self.lock:
                behaviour.now -= 1

    def _refused(self) -> bool:
        key = self.behaviour.key
        if key is None or self.headers["Authorization"] == f"Bearer {key}":
            return False
        self._send(401, {"error": {"message": f"Incorrect API key: {self.headers['Authorization']}"}})
        return True

    def _answer(self, body: dict[str, Any], fault: str | None) -> None:
        time.sleep(self.behaviour.seconds)
        if fault == "hang":
            time.sleep(60)
        elif fault == "drop":
            self.close_connection = True
        elif fault == "garbage":
            self._write(200, b'{"choices": [{"text": "half')
        elif fault == "page":
            self._write(200, b"<html>It works!</html>", {"Content-Type": "text/html"})
        elif fault == "drip":
            self._drip()
        elif fault is not None:
            status, _, seconds = fault.partition(" ")
            headers = {"Retry-After": seconds} if seconds else {}
            self._send(int(status), {"error": {"message": "a fault", "type": "fault"}}, headers)
        elif not self.behaviour.structured and {"structured_outputs", "response_format"} & body.keys():
            self._send(400, {"error": {"message": "Unrecognized request argument supplied: response_format"}})
        else:
            self._send(200, self._reply(body))
            self.behaviour.answered.append(body["seed"])

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(200):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.05)

    def _reply(self, body: dict[str, Any]) -> dict[str, Any]:
        is_chat = self.path == "/v1/chat/completions"
        prompt = FakeRenderer().render(body["messages"]) if is_chat else bytes(body["prompt"]).decode()
        schema = body.get("structured_outputs", {}).get("json")
        schema = schema or body.get("response_format", {}).get("json_schema", {}).get("schema", {})
        (reply,) = FakeGenerator(4, self.behaviour.malformed).generate([Request("", prompt, body["seed"], schema)])
        content = {"message": {"role": "assistant", "content": reply.text}} if is_chat else {"text": reply.text}
        usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.reply_tokens}
        return {
            "model": self.behaviour.writer or body["model"],
            "choices": [{**content, "finish_reason": "stop"}],
            "usage": usage,
        }

    def _send(self, status: int, content: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._write(status, json.dumps(content).encode(), headers)

    def _write(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A client that has gone is no error."""


def listen(behaviour: Behaviour, port: int = 0) -> Server:
    return Server(("127.0.0.1", port), type("One", (Handler,), {"behaviour": behaviour, "lock": threading.Lock()}))


@contextmanager
def serving(behaviour: Behaviour, port: int = 0) -> Iterator[str]:
    """The base URL of a server of this behaviour."""
    server = listen(behaviour, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    listen(Behaviour(seconds=0.1), int(sys.argv[1])).serve_forever()
