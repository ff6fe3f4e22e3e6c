"""The LLM behind a server with OpenAI's interface (vLLM, SGLang, llama.cpp, a provider). Only this module imports
`openai`, which retries with backoff and honours `Retry-After`; this module decides when to give up."""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from eimf.errors import MissingError, ModelError, SettingError, on_one_line
from eimf.esim.generate import Reply, Request
from eimf.esim.loop_thread import LoopThread
from eimf.esim.openai_format import Answer, BodyWriter, CheckedForm, ServedModels

if TYPE_CHECKING:
    import openai

_CONNECT_SECONDS, _LONGEST_PAUSE = 30.0, 8.0
_RETRIES = 2
"""Those of the client in a row; then this module notes the problem, and asks again."""
_NO_STRUCTURE = re.compile("schema|structured|response_format|grammar|guided", re.IGNORECASE)
"""What a server writes that cannot hold a reply to a JSON schema."""
_NO_REPLY = (ValidationError, JSONDecodeError, UnicodeDecodeError, RecursionError)
"""Errors of reading an answer that is none."""
_FIELD = "runtime.endpoint"
_OTHER_MODEL = "start it with that model, or correct llm.model or runtime.served_model"


class HttpGenerator:
    """Bounded concurrency over all requests; replies are yielded as they finish.

    A request is sent again after a dropped connection, a time-out, a 429, a 5xx or an answer that is none. The run
    stops if no request at all was answered for twice `request_seconds`, and at once if the server refuses one for good.
    """

    def __init__(
        self,
        endpoint: str,
        api_key: str | None,
        form: CheckedForm,
        *,
        model: str | None,
        expected: str | None,
        sampling: Mapping[str, Any],
        concurrent_requests: int,
        request_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        """Asks the server at `endpoint`, its base URL, what it serves.

        `model` is the name there, and None for the only model that it serves; `expected` is the name it has to have in
        that case, if one is known. `sampling` has temperature, top_p and max_tokens. `say` gets a line for people.
        Raises MissingError, SettingError or ModelError if that server cannot answer."""
        self._endpoint, self._api_key, self._say = endpoint.rstrip("/"), api_key, say
        self._most, self._seconds = concurrent_requests, request_seconds
        self._pause = min(_LONGEST_PAUSE, request_seconds / 4)
        self._form = form
        self._structured, self._problem, self._said = True, "", set[str]()
        self._client = self._connect(endpoint)
        self._loop = LoopThread()
        try:
            name, is_vllm = self._loop.run(self._choose(model, expected))
        except BaseException:
            self.close()
            raise
        self._writer = BodyWriter(name, form, is_vllm, sampling)
        say(f"      asking {name}, served by {self._endpoint}")

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        self._form.check([request.prompt for request in requests])
        waiting, running = iter(requests), set[asyncio.Task[Reply]]()
        try:
            while True:
                started = islice(waiting, self._most - len(running))
                running |= self._loop.run(self._start(started))
                if not running:
                    return
                finished, running = self._loop.run(self._wait(running))
                yield from self._results(finished)
        finally:
            self._cancel(running)

    def close(self) -> None:
        self._loop.run(self._client.close())
        self._loop.close()

    def _connect(self, endpoint: str) -> "openai.AsyncOpenAI":
        try:
            import openai
        except ImportError as error:
            hint = "install the esim-http extra: pip install -e '.[esim-http]'"
            raise MissingError("openai", f"not usable here ({error})", hint) from error
        return openai.AsyncOpenAI(
            base_url=endpoint, api_key=self._api_key or "none", max_retries=_RETRIES, timeout=self._seconds
        )

    async def _choose(self, model: str | None, expected: str | None) -> tuple[str, bool]:
        """Name of the model to ask, and whether vLLM serves it."""
        served = {card.id: card for card in (await self._served()).data}
        names = ", ".join(served) or "nothing"
        wanted = model or expected or (next(iter(served)) if len(served) == 1 else None)
        if wanted is None:
            problem = f"not set, and {self._endpoint} serves {names}"
            raise SettingError("runtime.served_model", problem, "name the one that is llm.model")
        if wanted not in served:
            problem = f"{self._endpoint} serves {names}, not {wanted}"
            raise SettingError(_FIELD, problem, _OTHER_MODEL)
        return wanted, served[wanted].is_vllm

    async def _served(self) -> ServedModels:
        import openai

        client = self._client.with_options(max_retries=2, timeout=min(_CONNECT_SECONDS, self._seconds))
        try:
            return ServedModels.model_validate(await client.get("/models", cast_to=object))
        except openai.APIStatusError as error:
            self._raise_refusal(error)
            problem = f"{self._endpoint} answers HTTP {error.status_code} to GET /models"
            raise SettingError(_FIELD, problem, "check the server's log, and run the same command again") from error
        except openai.APIConnectionError as error:
            problem = f"no server answers at {self._endpoint} ({self._reason(error)})"
            raise MissingError(_FIELD, problem, "start it, or correct the address") from error
        except _NO_REPLY as error:
            raise self._no_interface("its answer to GET /models is none") from error

    async def _start(self, requests: Iterable[Request]) -> set[asyncio.Task[Reply]]:
        return {asyncio.create_task(self._ask(request)) for request in requests}

    async def _wait(
        self, running: set[asyncio.Task[Reply]]
    ) -> tuple[set[asyncio.Task[Reply]], set[asyncio.Task[Reply]]]:
        """Those that have finished, and those that have not. Raises ModelError if none does for too long."""
        patience = 2 * self._seconds
        finished, unfinished = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not finished:
            problem = f"no reply from {self._endpoint} for {patience:g} s ({self._problem or 'it does not answer'})"
            raise ModelError(_FIELD, problem, "run the same command again later: finished replies are kept")
        return finished, unfinished

    def _results(self, finished: set[asyncio.Task[Reply]]) -> Iterator[Reply]:
        """The replies; then the first error is raised, if there is one."""
        errors = [error for task in finished if (error := task.exception())]
        for task in finished:
            if task.exception() is None:
                yield task.result()
        if errors:
            raise errors[0]

    def _cancel(self, running: set[asyncio.Task[Reply]]) -> None:
        async def cancelled() -> None:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

        self._loop.run(cancelled())

    async def _ask(self, request: Request) -> Reply:
        """The reply to a request, however often it has to be sent."""
        import openai

        while True:
            structured = self._structured
            try:
                return await self._send(request, structured)
            except openai.APIStatusError as error:
                if structured and error.status_code in (400, 422, 501) and _NO_STRUCTURE.search(_text(error)):
                    self._leave_structure_out()
                    continue
                self._raise_refusal(error)
                await self._pause_after(f"HTTP {error.status_code}")
            except (openai.APIConnectionError, TimeoutError) as error:
                await self._pause_after(self._reason(error))
            except _NO_REPLY:
                await self._pause_after("an answer that is no reply")

    async def _send(self, request: Request, structured: bool) -> Reply:
        async with asyncio.timeout(2 * self._seconds):  # for an answer that comes byte by byte
            body = self._writer.body(request, structured=structured)
            answer = Answer.model_validate(await self._client.post(self._writer.form.path, cast_to=object, body=body))
        if self._writer.is_vllm and answer.model not in ("", self._writer.model):
            problem = f"{self._endpoint} answers as {answer.model}, not {self._writer.model}"
            raise SettingError(_FIELD, problem, _OTHER_MODEL)
        return answer.reply(request.key)

    async def _pause_after(self, problem: str) -> None:
        self._problem = problem
        if problem not in self._said:
            self._said.add(problem)
            self._say(
                f"      {self._endpoint}: {problem}; asking again, until nothing comes for {2 * self._seconds:g} s"
            )
        await asyncio.sleep(self._pause)

    def _leave_structure_out(self) -> None:
        if self._structured:
            self._structured = False
            self._say(
                f"      {self._endpoint} knows no JSON schema: malformed replies are asked for again (llm.retries)"
            )

    def _raise_refusal(self, error: "openai.APIStatusError") -> None:
        """Raise the error of an answer that would be the same next time."""
        status = error.status_code
        if status in (401, 403):
            problem = f"the server at {self._endpoint} refuses " + ("it" if self._api_key else "requests without it")
            raise SettingError("EIMF_API_KEY", f"{problem} (HTTP {status})", "set it to a valid key") from error
        if status in (404, 405):
            raise self._no_interface(f"HTTP {status}") from error
        if 300 <= status < 500 and status not in (408, 409, 425, 429):
            problem = f"{self._endpoint} refuses a request (HTTP {status}: {self._hidden(_text(error))})"
            raise SettingError(_FIELD, problem, "correct what it names: finished replies are kept") from error

    def _no_interface(self, reason: str) -> SettingError:
        problem = f"{self._endpoint} has no interface like OpenAI's ({reason})"
        return SettingError(_FIELD, problem, "give the base URL, which usually ends in /v1")

    def _reason(self, error: BaseException) -> str:
        import openai

        if isinstance(error, TimeoutError | openai.APITimeoutError):
            return f"no answer within {self._seconds:g} s"
        return self._hidden(on_one_line(error.__cause__ or error))

    def _hidden(self, text: str) -> str:
        """`text` without the key, which a server may repeat."""
        return on_one_line(ValueError(text.replace(self._api_key, "...") if self._api_key else text))


def _text(error: "openai.APIStatusError") -> str:
    """What the server says of its error."""
    body = error.body
    if isinstance(body, Mapping):
        return str(body.get("message") or body.get("detail") or body)
    return error.response.text
