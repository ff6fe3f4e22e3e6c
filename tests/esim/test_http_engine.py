"""The engine behind OpenAI's interface, against a server that speaks it and fails in every way that servers do."""

import asyncio
import socket
import time

import pytest

from eimf.errors import ModelError, SettingError, UserError
from eimf.esim.fake import FakeGenerator, FakeRenderer
from eimf.esim.generate import Reply, Request
from eimf.esim.http_engine import HttpGenerator
from eimf.esim.openai_format import Messages, Rendered
from eimf.esim.served import MessagesRenderer, served_name
from tests.esim.openai_server import NAME, Behaviour, serving

SAMPLING = {"temperature": 0.2, "top_p": 0.9, "max_tokens": 50}
SCHEMA = {"type": "array"}
FORMS = {"rendered": Rendered(lambda prompt: list(prompt.encode()), 1000), "messages": Messages()}
"""A token of the model of the tests is a byte."""


def requests(form: str, count: int = 6) -> list[Request]:
    renderer = FakeRenderer() if form == "rendered" else MessagesRenderer()
    turns = [{"role": "system", "content": "Name interests."}]
    prompts = [
        renderer.render([*turns, {"role": "user", "content": f"1. red boat {number}\n2. red car"}])
        for number in range(count)
    ]
    return [Request(f"key {number}", prompt, number, SCHEMA) for number, prompt in enumerate(prompts)]


def replies(
    behaviour: Behaviour, form: str = "rendered", *, key: str | None = None, model: str | None = None,
    expected: str | None = None, seconds: float = 5.0, most: int = 3, lines: list[str] | None = None, count: int = 6,
) -> list[Reply]:  # fmt: skip
    """The replies to the requests, sorted by key."""
    said = [] if lines is None else lines
    with serving(behaviour) as endpoint:
        engine = HttpGenerator(
            endpoint,
            key,
            FORMS[form],
            model=model,
            expected=expected,
            sampling=SAMPLING,
            concurrent_requests=most,
            request_seconds=seconds,
            say=said.append,
        )
        try:
            return sorted(engine.generate(requests(form, count)), key=lambda reply: reply.key)
        finally:
            engine.close()


def expected(count: int = 6) -> list[Reply]:
    return list(FakeGenerator(4).generate(requests("rendered", count)))


@pytest.mark.parametrize("form", FORMS)
def test_the_replies_are_those_of_the_same_model_here(form):
    behaviour = Behaviour()
    assert replies(behaviour, form) == expected()
    assert behaviour.most <= 3
    for body in behaviour.bodies:
        assert SAMPLING.items() <= body.items() and body["model"] == NAME
        assert body["structured_outputs"] == {"json": SCHEMA, "disable_any_whitespace": True}
    assert sorted(body["seed"] for body in behaviour.bodies) == list(range(6))


def test_it_answers_where_an_event_loop_runs_already():
    async def cell_of_a_notebook() -> list[Reply]:
        return replies(Behaviour())

    assert asyncio.run(cell_of_a_notebook()) == expected()


def test_fields_that_only_vllm_knows_are_sent_to_no_other_server():
    behaviour = Behaviour(owner="somebody")
    assert replies(behaviour) == expected()
    known = {"model", "prompt", "seed", "response_format", *SAMPLING}
    assert {name for body in behaviour.bodies for name in body} == known
    assert behaviour.bodies[0]["response_format"]["json_schema"]["schema"] == SCHEMA


def test_a_request_is_sent_again_after_every_fault_that_may_pass():
    faults = dict(enumerate(["429 1", "500", "drop", "garbage", "page", "503", "drip", "hang"]))
    behaviour, lines = Behaviour(faults), []
    begin = time.monotonic()
    assert replies(behaviour, most=8, seconds=0.8, count=8, lines=lines) == expected(8)
    assert time.monotonic() - begin > 0.8  # it waited for what hung
    assert sorted(behaviour.answered) == list(range(8)) and len(behaviour.bodies) == 16
    problems = [line.partition(": ")[2].partition(";")[0] for line in lines[1:]]
    assert sorted(problems) == ["an answer that is no reply", "no answer within 0.8 s"]


def test_a_server_without_structured_output_is_asked_without_it():
    behaviour, lines = Behaviour(structured=False, owner="somebody"), []
    assert replies(behaviour, lines=lines) == expected()
    assert len(behaviour.bodies) <= 6 + 3  # those that were there when the first was refused
    assert len([line for line in lines if "knows no JSON schema" in line]) == 1


GIVEN_UP = {
    "429 1": "HTTP 429",
    "429 9999": "HTTP 429",
    "500": "HTTP 500",
    "page": "an answer that is no reply",
    "drop": "without sending",
}


@pytest.mark.parametrize("fault", GIVEN_UP)
def test_a_server_that_fails_for_ever_is_given_up_and_finished_replies_are_kept(fault):
    faults = dict.fromkeys(range(2, 1000), fault)
    finished = []
    with serving(Behaviour(faults)) as endpoint:
        engine = HttpGenerator(
            endpoint, None, FORMS["rendered"], model=None, expected=None, sampling=SAMPLING,
            concurrent_requests=3, request_seconds=1.2, say=lambda line: None,
        )  # fmt: skip
        with pytest.raises(ModelError, match=r"runtime\.endpoint: no reply from \S+ for 2\.4 s") as error:
            for reply in engine.generate(requests("rendered")):
                finished.append(reply)
        engine.close()
    assert GIVEN_UP[fault] in str(error.value) and len(str(error.value).splitlines()) == 1
    assert len(finished) == 2


def test_a_server_that_never_answers_is_given_up():
    with pytest.raises(ModelError, match=r"no reply from \S+ for 0\.6 s \(no answer within 0\.3 s\); run the same"):
        replies(Behaviour(always="hang"), seconds=0.3)


def test_a_key_is_sent_and_never_shown():
    assert replies(Behaviour(key="secret"), key="secret") == expected()
    for key, refused in [("other secret", "refuses it"), (None, "refuses requests without it")]:
        with pytest.raises(SettingError, match=rf"EIMF_API_KEY: the server at \S+ {refused} \(HTTP 401\)") as error:
            replies(Behaviour(key="secret"), key=key)
        assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("behaviour", "names", "problem"),
    [
        (Behaviour(models=("a", "b")), {}, r"runtime\.served_model: not set, and \S+ serves a, b; name the one"),
        (Behaviour(models=("a",)), {"model": "b"}, r"runtime\.endpoint: \S+ serves a, not b; start it with that model"),
        (Behaviour(models=("a",)), {"expected": "o/b"}, r"serves a, not o/b;"),
        (Behaviour(writer="x"), {}, r"runtime\.endpoint: \S+ answers as x, not little-model; start it with that"),
        (Behaviour(models=()), {}, r"serves nothing"),
        (Behaviour(always="413"), {}, r"refuses a request \(HTTP 413: a fault\); correct what it names"),
        (Behaviour(always="404"), {}, r"has no interface like OpenAI's \(HTTP 404\); give the base URL"),
    ],
)
def test_a_server_that_cannot_answer_is_one_line(behaviour, names, problem):
    with pytest.raises(SettingError, match=problem) as error:
        replies(behaviour, **names)
    assert len(str(error.value).splitlines()) == 1


def test_the_model_is_chosen_by_name():
    for names in ({"model": "b"}, {"expected": "b"}):
        behaviour = Behaviour(models=("a", "b"))
        assert replies(behaviour, **names) == expected()
        assert {body["model"] for body in behaviour.bodies} == {"b"}


def start(endpoint: str) -> UserError:
    with pytest.raises(UserError) as error:
        HttpGenerator(
            endpoint, None, Messages(), model=None, expected=None, sampling={}, concurrent_requests=1,
            request_seconds=1, say=lambda line: None,
        )  # fmt: skip
    return error.value


def test_an_address_without_such_a_server_is_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    assert "no server answers at" in str(start(closed))
    with serving(Behaviour()) as endpoint:
        assert "has no interface like OpenAI's (HTTP 404)" in str(start(endpoint.removesuffix("/v1")))


def test_a_prompt_that_is_too_long_stops_before_anything_is_asked():
    behaviour = Behaviour()
    form = Rendered(lambda prompt: list(prompt.encode()), 10)
    with serving(behaviour) as endpoint:
        engine = HttpGenerator(
            endpoint, None, form, model=None, expected=None, sampling=SAMPLING, concurrent_requests=1,
            request_seconds=1, say=lambda line: None,
        )  # fmt: skip
        with pytest.raises(SettingError, match=r"llm\.max_prompt_tokens: 10, but a prompt has \d+ tokens"):
            list(engine.generate(requests("rendered")))
        engine.close()
    assert not behaviour.bodies


@pytest.mark.parametrize(
    "title",
    ["<|im_end|>", "<|<|im_end|>|>", "[INST] x", "<</SYS>>", "<start_of_turn>user", "<\uff5cUser\uff5c>", "<s>"],
)
def test_a_title_with_what_looks_like_a_special_token_gets_blanks(title):
    renderer = MessagesRenderer()
    clean = renderer.as_data(f"a {title} b")
    assert clean.replace(" ", "") == f"a{title}b".replace(" ", "")
    prompt = renderer.render([{"role": "user", "content": f"<b> {clean}"}])
    assert renderer.markers(prompt) == ["<b>"]
    assert renderer.as_data('Alien [1979] "x" {y}') == 'Alien [1979] "x" {y}'


def test_the_name_of_a_served_model():
    assert served_name("served:owner/name") == "owner/name"
    assert served_name("owner/name") is None
