import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eimf.esim.parse import parse_reply

ANY = st.text(st.characters(exclude_categories=()))  # halves of characters too, which JSON can spell
ENTRY = st.fixed_dictionaries({"interest": ANY, "items": st.lists(st.integers(-3, 20))})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | ENTRY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def parse(reply: str, examples: frozenset[str] = frozenset()):
    return parse_reply(reply, titles=5, examples=examples, max_interests=3)


@given(st.text() | ANYTHING.map(json.dumps) | st.tuples(st.text(), ANYTHING.map(json.dumps), st.text()).map("".join))
def test_no_reply_stops_a_run_and_each_is_usable_or_has_a_reason(reply):
    found = parse(reply)
    assert (found.reason is None) == bool(found.interests)
    assert len(found.interests) == len(found.evidence) <= 3
    assert all(phrase.strip() and phrase.encode() for phrase in found.interests)
    assert all(1 <= number <= 5 for numbers in found.evidence for number in numbers)


@given(st.lists(ENTRY, max_size=6), st.integers(0, 200))
def test_a_reply_cut_off_anywhere_never_raises(entries, cut):
    parse(json.dumps(entries)[:cut])


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty reply"),
        ("I am sorry.", "no JSON list"),
        (r'[{"interest": "\ud83d", "items": [1]}]', "no entry with an interest"),
        ("[" + "9" * 5000 + "]", "broken JSON (ValueError)"),
        ('[{"interest": "half', "broken JSON (JSONDecodeError)"),
        ("[" * 100_000, "JSON too deep"),
        ("[]", "no entry with an interest"),
        ('[{"interest": 7, "items": [1]}, 3, null]', "no entry with an interest"),
        ('[{"interest": "War  Films", "items": [1]}]', "only repeats the prompt's examples"),
    ],
)
def test_reasons(reply, reason):
    assert parse(reply, frozenset({"war films"})).reason == reason


@pytest.mark.parametrize(
    "reply",
    [
        'Here is [the list] you want: [{"interest": "jazz", "items": [1]}].',
        'Interests [1]: [{"interest": "jazz", "items": [1]}]',
        '{"liked": [], "interests": [{"interest": "jazz", "items": [1]}]}',
    ],
)
def test_brackets_before_the_answer_do_not_hide_it(reply):
    found = parse(reply)
    assert (found.interests, found.evidence) == (["jazz"], [[1]])


def test_what_is_usable_is_kept_and_cleaned():
    reply = (
        'Sure: [{"interest": " dark \\n comedy", "items": [2, 2, 9, true, "3", 0, 1]}, {"interest": "Dark Comedy"}] Bye'
    )
    found = parse(reply)
    assert found.interests == ["dark comedy"]  # the second says the same
    assert found.evidence == [[2, 1]]
