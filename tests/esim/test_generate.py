import pyarrow as pa
import pytest

from eimf import schema
from eimf.errors import DataError
from eimf.esim.assemble import esim_interests, esim_users
from eimf.esim.encode import to_column
from eimf.esim.fake import FakeGenerator, FakeRenderer
from eimf.esim.generate import Replies, Reply, ask, interests_table, request_seed
from eimf.esim.parse import parse_reply
from eimf.store.keys import digest

PROMPTS = {
    digest(number): FakeRenderer().render(
        [{"role": "user", "content": f"1. red fox {number}\n2. red hen\n3. blue hen"}]
    )
    for number in range(10)
}


def readable(key: str, reply: str) -> bool:
    return parse_reply(reply, 3, frozenset(), 4).reason is None


def run(generator: FakeGenerator, known: list[dict], retries: int, chunk: int = 3):
    """Replies after asking, the saved chunks, and the requests sent."""
    replies = Replies(pa.Table.from_pylist(known, schema=schema.REPLIES), readable, retries)
    chunks: list[list[dict]] = []
    sent = ask(lambda: generator, PROMPTS, replies, chunk=chunk, save=chunks.append, on_progress=lambda _: None)
    return replies, chunks, sent


def test_replies_are_saved_chunk_by_chunk():
    _, chunks, sent = run(FakeGenerator(4), [], retries=0)
    assert [len(chunk) for chunk in chunks] == [3, 3, 3, 1]
    assert sent == 10


def test_what_was_answered_is_never_asked_again_and_the_model_not_loaded():
    _, chunks, _ = run(FakeGenerator(4), [], retries=0)
    known = [row for chunk in chunks for row in chunk]
    _, chunks, sent = run(FakeGenerator(4), known[:7], retries=0)
    assert sent == 3
    assert [row for chunk in chunks for row in chunk] == known[7:]

    def unloadable():
        raise AssertionError("nothing is due")

    replies = Replies(pa.Table.from_pylist(known, schema=schema.REPLIES), readable, 0)
    assert ask(unloadable, PROMPTS, replies, chunk=3, save=chunks.append, on_progress=lambda _: None) == 0


def test_malformed_replies_are_retried_with_another_seed_and_counted():
    replies, chunks, sent = run(FakeGenerator(4, malformed=0.5), [], retries=20)
    attempts = [row for chunk in chunks for row in chunk]
    assert sent == len(attempts) > 10
    assert all(readable(key, replies.last(key)["reply"]) for key in PROMPTS)
    assert len({request_seed(key, attempt) for key in PROMPTS for attempt in range(3)}) == 30


def test_attempts_beyond_the_retries_of_this_run_do_not_count():
    _, chunks, _ = run(FakeGenerator(4, malformed=0.5), [], retries=5)
    known = [row for chunk in chunks for row in chunk]
    again, chunks, sent = run(FakeGenerator(4, malformed=0.5), known, retries=0)
    fresh, _, _ = run(FakeGenerator(4, malformed=0.5), [], retries=0)
    assert sent == 0 and not chunks and max(row["attempt"] for row in known) > 0
    assert [again.last(key) for key in PROMPTS] == [fresh.last(key) for key in PROMPTS]


def test_retries_end_and_the_row_says_why():
    replies, _, sent = run(FakeGenerator(4, malformed=1.0), [], retries=2)
    assert sent == 30
    requests = pa.Table.from_pylist(
        [{schema.REQUEST_KEY: key, schema.USER: user, schema.HISTORY: [7, 8, 9]} for user, key in enumerate(PROMPTS)],
        schema=schema.REQUESTS,
    )
    rows = interests_table(requests, replies, lambda _, reply: parse_reply(reply, 3, frozenset(), 4)).to_pylist()
    assert {(row["status"], row["reason"], row["attempt"]) for row in rows} == {
        ("malformed", "broken JSON (JSONDecodeError)", 2)
    }
    assert run(FakeGenerator(4, malformed=1.0), replies_rows(replies), retries=2)[2] == 0


def replies_rows(replies: Replies) -> list[dict]:
    return [row for key in PROMPTS if (row := replies.last(key)) is not None]


def test_evidence_points_at_items():
    replies, _, _ = run(FakeGenerator(2), [], retries=0)
    key = next(iter(PROMPTS))
    requests = pa.Table.from_pylist(
        [{schema.REQUEST_KEY: key, schema.USER: 4, schema.HISTORY: [70, 80, 90]}], schema=schema.REQUESTS
    )
    row = interests_table(requests, replies, lambda _, reply: parse_reply(reply, 3, frozenset(), 4)).to_pylist()[0]
    # "hen" is in titles 2 and 3, "red" in 1 and 2.
    assert (row["interests"], row["evidence"]) == (["hen", "red"], [[80, 90], [70, 80]])


def test_bundle_numbers_interests_within_clusters_and_notes_what_was_read():
    typical = pa.Table.from_pylist(
        [
            {schema.CLUSTER: 0, schema.USER: 5, schema.RANK: 0, schema.SIMILARITY: 1.0},
            {schema.CLUSTER: 2, schema.USER: 1, schema.RANK: 0, schema.SIMILARITY: 1.0},
        ],
        schema=schema.TYPICAL_USERS,
    )
    import numpy as np

    vectors = pa.table(
        {
            schema.USER: pa.array([1, 1, 5], pa.int32()),
            schema.INTEREST_NO: pa.array([0, 1, 0], pa.int32()),
            schema.VECTOR: to_column(np.arange(6, dtype=np.float32).reshape(3, 2)),
        }
    )
    found = esim_interests(typical, vectors).to_pylist()
    assert [(row["cluster"], row["interest_no"], row["vector"]) for row in found] == [
        (0, 0, [4, 5]),
        (2, 0, [0, 1]),
        (2, 1, [2, 3]),
    ]
    with pytest.raises(DataError, match="no reply of the LLM held a usable interest"):
        esim_interests(typical, vectors.slice(0, 0))
    clusters = pa.Table.from_pylist(
        [{schema.USER: user, schema.CLUSTER: user % 3, schema.SIMILARITY: 0.5} for user in range(6)],
        schema=schema.CLUSTERS,
    )
    requests = pa.Table.from_pylist([{schema.USER: 5, schema.LAST_READ: 9}], schema=schema.REQUESTS)
    assert esim_users(clusters, requests)[schema.LAST_READ].to_pylist() == [-1, -1, -1, -1, -1, 9]


def test_a_reply_that_was_cut_is_an_answer_if_it_has_a_whole_entry():
    """As an engine would return them: the second is cut before its first interest, and asked again."""
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

    prompts = {digest(number): str(number) for number in range(3)}
    replies = Replies(schema.REPLIES.empty_table(), readable, retries=1)
    assert ask(lambda: Cut(4), prompts, replies, chunk=8, save=lambda rows: None, on_progress=lambda _: None) == 3 + 1
    requests = pa.Table.from_pylist(
        [{schema.REQUEST_KEY: key, schema.USER: user, schema.HISTORY: [7, 8, 9]} for user, key in enumerate(prompts)],
        schema=schema.REQUESTS,
    )
    rows = interests_table(requests, replies, lambda _, reply: parse_reply(reply, 3, frozenset(), 4)).to_pylist()
    assert [(row["status"], row["reason"], row["interests"]) for row in rows] == [
        ("truncated", None, ["crime"]),
        ("malformed", "cut by llm.max_tokens (broken JSON (JSONDecodeError))", []),
        ("ok", None, ["jazz"]),
    ]
    assert rows[0]["evidence"] == [[8, 9]]
