"""Generation with retries, and the tables of replies and interests."""

import pyarrow as pa
import pytest

from eimf import schema
from eimf.esim.fake import FakeGenerator, FakeRenderer
from eimf.esim.generate import (
    Generator,
    Question,
    Replies,
    Reply,
    generate_missing,
    interests_table,
    replies_table,
    request_seed,
)
from eimf.esim.parse import Parsed, parse_reply
from eimf.store.keys import digest

QUESTIONS = {
    digest(number): Question(
        FakeRenderer().render([{"role": "user", "content": f"1. red fox {number}\n2. red hen\n3. blue hen"}]), 3
    )
    for number in range(10)
}
KEYS = list(QUESTIONS)


def attempts_at(keys: list[str], known: list[dict], retries: int) -> Replies:
    """What is known of requests with three titles each."""
    questions = {key: Question("", 3) for key in keys}
    return Replies(pa.Table.from_pylist(known, schema=schema.REPLIES), questions, parse, retries)


def parse(reply: str, question: Question) -> Parsed:
    return parse_reply(reply, question.num_titles, frozenset(), 4, question.offered)


def generate(generator: Generator, known: list[dict], retries: int, chunk_size: int = 3):
    """The replies in the end, the saved chunks, and the requests sent."""
    replies = attempts_at(KEYS, known, retries)
    chunks: list[list[dict]] = []
    num_sent = generate_missing(
        lambda: generator, QUESTIONS, replies, chunk_size=chunk_size, save=chunks.append, on_progress=lambda _: None
    )
    return replies, chunks, num_sent


def requests(keys: list[str], history: list[int]) -> pa.Table:
    """One user per key, with user_idx from 0."""
    rows = [{schema.REQUEST_KEY: key, schema.USER: user, schema.HISTORY: history} for user, key in enumerate(keys)]
    return pa.Table.from_pylist(rows, schema=schema.REQUESTS)


def test_replies_are_saved_chunk_by_chunk():
    _, chunks, num_sent = generate(FakeGenerator(4), [], retries=0)
    assert [len(chunk) for chunk in chunks] == [3, 3, 3, 1]
    assert num_sent == 10


def test_an_engine_gets_a_limited_number_of_requests_at_a_time(monkeypatch):
    monkeypatch.setattr("eimf.esim.generate._AT_A_TIME", 4)
    sizes = []

    class Noting(FakeGenerator):
        def generate(self, requests):
            sizes.append(len(requests))
            return super().generate(requests)

    replies, chunks, num_sent = generate(Noting(4), [], retries=0)
    assert sizes == [4, 4, 2] and num_sent == 10 and not replies.pending()
    assert [row["request_key"] for chunk in chunks for row in chunk] == KEYS


def test_an_answered_request_is_never_sent_again_and_without_any_the_model_is_not_loaded():
    _, chunks, _ = generate(FakeGenerator(4), [], retries=0)
    known = [row for chunk in chunks for row in chunk]
    _, chunks, num_sent = generate(FakeGenerator(4), known[:7], retries=0)
    assert num_sent == 3
    assert [row for chunk in chunks for row in chunk] == known[7:]

    def unloadable() -> Generator:
        raise AssertionError("nothing is pending")

    replies = attempts_at(KEYS, known, 0)
    nothing = generate_missing(unloadable, QUESTIONS, replies, chunk_size=3, save=chunks.append, on_progress=print)
    assert nothing == 0


def test_malformed_replies_are_retried_with_another_seed_and_counted():
    replies, chunks, num_sent = generate(FakeGenerator(4, malformed=0.5), [], retries=20)
    attempts = [row for chunk in chunks for row in chunk]
    assert num_sent == len(attempts) > 10
    assert all(replies.last(key).is_valid for key in KEYS)
    assert len({request_seed(key, attempt) for key in KEYS for attempt in range(3)}) == 30


def test_attempts_beyond_the_retries_of_this_run_do_not_count():
    _, chunks, _ = generate(FakeGenerator(4, malformed=0.5), [], retries=5)
    known = [row for chunk in chunks for row in chunk]
    again, chunks, num_sent = generate(FakeGenerator(4, malformed=0.5), known, retries=0)
    fresh, _, _ = generate(FakeGenerator(4, malformed=0.5), [], retries=0)
    assert num_sent == 0 and not chunks and max(row["attempt"] for row in known) > 0
    assert [again.last(key) for key in KEYS] == [fresh.last(key) for key in KEYS]


def test_each_reply_is_parsed_once_and_those_to_other_requests_never():
    _, chunks, _ = generate(FakeGenerator(4), [], retries=0)
    known = [row for chunk in chunks for row in chunk]
    parsed: list[str] = []

    def noting(reply: str, question: Question) -> Parsed:
        parsed.append(reply)
        return parse(reply, question)

    questions = {key: QUESTIONS[key] for key in KEYS[:4]}
    replies = Replies(pa.Table.from_pylist(known, schema=schema.REPLIES), questions, noting, 0)
    assert not replies.pending()
    table = requests(KEYS[:4], [7, 8, 9])
    assert replies_table(table, replies).num_rows == 4 and interests_table(table, replies).num_rows > 4
    assert parsed == [row[schema.REPLY] for row in known[:4]]


def test_retries_end_and_the_row_says_why():
    replies, chunks, num_sent = generate(FakeGenerator(4, malformed=1.0), [], retries=2)
    assert num_sent == 30
    rows = replies_table(requests(KEYS, [7, 8, 9]), replies).to_pylist()
    assert {(row["status"], row["reason"], row["attempt"]) for row in rows} == {
        ("malformed", "broken JSON (JSONDecodeError)", 2)
    }
    known = [row for chunk in chunks for row in chunk]
    assert generate(FakeGenerator(4, malformed=1.0), known, retries=2)[2] == 0


def test_interests_are_numbered_through_and_their_evidence_is_items():
    replies, _, _ = generate(FakeGenerator(2), [], retries=0)
    rows = interests_table(requests(KEYS[:2], [70, 80, 90]), replies).to_pylist()
    # "hen" is in titles 2 and 3, "red" in 1 and 2.
    assert [tuple(row.values()) for row in rows] == [
        (0, 0, "hen", [80, 90]),
        (1, 0, "red", [70, 80]),
        (2, 1, "hen", [80, 90]),
        (3, 1, "red", [70, 80]),
    ]


def test_users_with_the_same_prompt_share_the_reply_and_not_the_interests():
    replies, _, _ = generate(FakeGenerator(1), [], retries=0)
    rows = interests_table(requests([KEYS[0], KEYS[0]], [70, 80, 90]), replies).to_pylist()
    assert [(row["interest_id"], row["user_idx"], row["interest"]) for row in rows] == [(0, 0, "hen"), (1, 1, "hen")]


def test_a_reply_that_was_cut_is_an_answer_if_it_has_a_whole_entry():
    """As an engine would return them: the second is cut before its first interest, and sent again."""
    texts = [
        '[{"interest": "crime", "items": [2, 3]}, {"in',
        '[{"interest": "cri',
        '[{"interest": "jazz", "items": [1]}]',
    ]

    class Cut(FakeGenerator):
        def generate(self, requests):
            for request in requests:
                text = texts[int(request.prompt)]
                yield Reply(request.key, text, 1, 9, "stop" if text.endswith("]") else "length")

    questions = {digest(number): Question(str(number), 3) for number in range(3)}
    replies = attempts_at(list(questions), [], retries=1)
    num_sent = generate_missing(
        lambda: Cut(4), questions, replies, chunk_size=8, save=lambda rows: None, on_progress=lambda _: None
    )
    assert num_sent == 3 + 1
    table = requests(list(questions), [7, 8, 9])
    assert [(row["status"], row["reason"]) for row in replies_table(table, replies).to_pylist()] == [
        ("truncated", None),
        ("malformed", "cut by llm.max_tokens (broken JSON (JSONDecodeError))"),
        ("ok", None),
    ]
    interests = interests_table(table, replies).to_pylist()
    assert [(row["user_idx"], row["interest"], row["evidence"]) for row in interests] == [
        (0, "crime", [8, 9]),
        (2, "jazz", [7]),
    ]


def test_a_request_without_an_attempt_has_no_last_one():
    with pytest.raises(KeyError):
        attempts_at(KEYS, [], 0).last(KEYS[0])
