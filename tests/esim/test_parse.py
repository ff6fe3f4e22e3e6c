import json
import re
import time

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
    return parse_reply(reply, num_titles=5, examples=examples, max_interests=3)


@given(st.text() | ANYTHING.map(json.dumps) | st.tuples(st.text(), ANYTHING.map(json.dumps), st.text()).map("".join))
def test_any_reply_has_interests_or_a_reason(reply):
    parsed = parse(reply)
    assert (parsed.reason is None) == bool(parsed.interests)
    assert len(parsed.interests) == len(parsed.evidence) <= 3
    assert all(phrase.strip() and phrase.encode() for phrase in parsed.interests)
    assert all(1 <= number <= 5 for numbers in parsed.evidence for number in numbers)


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
    parsed = parse(reply)
    assert (parsed.interests, parsed.evidence) == (["jazz"], [[1]])


def test_usable_entries_are_kept_and_cleaned():
    reply = (
        'Sure: [{"interest": " dark \\n comedy", "items": [2, 2, 9, true, "3", 0, 1]}, {"interest": "Dark Comedy"}] Bye'
    )
    parsed = parse(reply)
    assert parsed.interests == ["dark comedy"]  # the second says the same
    assert parsed.evidence == [[2, 1]]


def first_list(reply: str):
    """The list that a reply means, by the plain rule: the first JSON list with an interest, else the first one."""
    first = None
    for bracket in re.finditer(r"\[", reply):
        try:
            value, _ = json.JSONDecoder().raw_decode(reply, bracket.start())
        except ValueError:
            continue
        if any(isinstance(entry, dict) and str(entry.get("interest") or "").strip() for entry in value):
            return value
        first = value if first is None else first
    return first


WORDS = st.text(st.characters(codec="ascii", exclude_characters='"'), max_size=20)
NAMED = st.fixed_dictionaries(
    {"interest": st.text("abc", min_size=1, max_size=3), "items": st.lists(st.integers(1, 5))}
)


@given(WORDS, st.lists(st.lists(NAMED | st.integers(), max_size=4), max_size=3), WORDS)
def test_the_same_list_as_by_trying_every_bracket(before, lists, after):
    reply = before + " then ".join(map(json.dumps, lists)) + after
    wanted = [entry["interest"] for entry in first_list(reply) or [] if isinstance(entry, dict)]
    assert parse(reply).interests == list(dict.fromkeys(wanted))[:3]


@given(st.lists(NAMED, min_size=1, max_size=4, unique_by=lambda entry: entry["interest"]), st.data())
def test_a_reply_that_breaks_off_keeps_its_whole_entries(entries, data):
    text = json.dumps(entries)
    ends = [len(json.dumps(entries[: number + 1])) - 1 for number in range(len(entries))]  # of each entry, less the ]
    cut = data.draw(st.integers(1, len(text) - 1))
    parsed, whole = parse("So: " + text[:cut]), sum(end <= cut for end in ends)
    assert parsed.interests == [entry["interest"] for entry in entries][: min(whole, 3)]
    assert not parsed.whole and (parsed.reason is None) == (whole > 0)


def test_a_real_reply_that_was_cut():
    parsed = parse('[{"interest": "crime", "items": [2, 3]}, {"in')
    assert (parsed.interests, parsed.evidence, parsed.reason, parsed.whole) == (["crime"], [[2, 3]], None, False)
    # A list that is broken within is no list that breaks off.
    assert not parse('[{"interest": "crime"}, oops] and so on').interests


@pytest.mark.parametrize(
    "reply",
    [
        '["' * 500_000,
        "[" * 1_000_000,
        ("[" + "1," * 55) * 900,
        "[" + "1," * 500_000,
        "[1] " * 250_000,
        "[" * 900 + "1," * 500_000 + "1" + "]" * 900,
        "[" + '{"interest":"a"},' * 60_000,
        '[{"interest": "' * 60_000,
    ],
    ids=lambda reply: reply[:9],
)
def test_a_reply_of_brackets_takes_linear_time(reply):
    begin = time.thread_time()
    parse(reply)
    assert time.thread_time() - begin < 0.3  # about .01 to .07; by the square of its length it would be minutes


def test_with_a_closed_vocabulary_other_phrases_and_numbers_of_other_titles_are_dropped():
    jazz, crime, war = ("jazz", [1, 2, 3]), ("Crime", [1]), ("war", [9])
    reply = json.dumps([{"interest": name, "items": numbers} for name, numbers in (jazz, crime, war)])
    parsed = parse_reply(reply, 9, frozenset(), 4, {"jazz": (2, 3, 7), "war": (1,), "crime": (1,)})
    assert (parsed.interests, parsed.evidence) == (["jazz", "war"], [[2, 3], []])
    assert parse_reply(reply, 9, frozenset(), 4, {"x": (1,)}).reason == "no entry with an interest"
