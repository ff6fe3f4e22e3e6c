import gzip
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.data import json_lines
from eimf.data.json_lines import first_fields, json_fields, read_json_lines, read_literal_lines
from eimf.data.python_literals import literal_to_json, literals_to_json
from eimf.data.source import RawFile, open_source
from eimf.errors import DataError


def raw(tmp_path, content: str | bytes, name: str = "events.json") -> RawFile:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return open_source(tmp_path / name, "dataset.path").files[0]


def rows(file: RawFile, *columns: str, literal: bool = False, optional: tuple[str, ...] = ()) -> list[tuple]:
    read = read_literal_lines if literal else read_json_lines
    return [row for frame in read(file, columns, "dataset.interactions", optional) for row in frame.rows()]


def error(file: RawFile, *columns: str, literal: bool = False) -> str:
    with pytest.raises(DataError) as caught:
        rows(file, *columns, literal=literal)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_ids_of_mixed_type_are_all_text_and_no_digit_is_lost(tmp_path):
    ids = ["9007199254740993", '"9007199254740992"', "18446744073709551616", '"x7"', "7", "true", "null", '"a\\"b"']
    file = raw(tmp_path, "".join(f'{{"user": {user}, "time": 5.0}}\n' for user in ids))
    texts = [user.strip('"').replace('\\"', '"') if user != "null" else None for user in ids]
    assert rows(file, "user", "time") == [(user, "5") for user in texts]


def test_a_missing_field_is_null_and_an_unwanted_one_is_not_read(tmp_path):
    file = raw(tmp_path, '{"a": 1, "b": {"c": [1, 2]}}\n\n  \n{"b": "x"}\n{"a": null, "z": []}')
    assert rows(file, "a") == [("1",), (None,), (None,)]
    assert json_fields(file, "dataset.interactions") == ["a", "b", "z"]
    assert rows(file, "b", "q", optional=("q",)) == [('{"c": [1, 2]}', None), ("x", None), (None, None)]


def test_lists_of_any_depth_stay_lists(tmp_path):
    file = raw(tmp_path, '{"c": [["Toys", "Games"], ["Toys"]], "d": ["x", 1]}\n{"c": [], "d": null}\n{"c": [["a"]]}\n')
    assert rows(file, "c", "d") == [([["Toys", "Games"], ["Toys"]], ["x", "1"]), ([], None), ([["a"]], None)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"a": 1}\n\n{"a": 2\n{"a": 3}\n', "line 3 of {} is not a JSON object (Expecting ',' delimiter"),
        ('{"a": 1}\n{"a": "lon', "line 2 of {} is not a JSON object (Unterminated string"),
        ('{"a": 1}\n{"a": 1} {"a": 2}\n', "line 2 of {} is not a JSON object (Extra data"),
        ('{"a": 1}\n[2]\n', "line 2 of {} is not a JSON object (it is a list)"),
        ('{"a": 1}\n{"a": NaN}\n', "line 2 of {} cannot be read ("),
        (b'{"a": 1}\n{"a": "\xff"}\n', "line 2 of {} is not a JSON object ('utf-8' codec can't decode"),
        ('{"a": 1}\n{"b": ' + "[" * 100_000 + "}\n", "line 2 of {} is not a JSON object (nested too deeply"),
        ("{'a': 1}\n", "line 1 of {} is not a JSON object (Expecting property name"),
        ('{"b": 1, "c": 2}\n', "'a' is not a field of {} in the first line; name one of 'b', 'c'"),
    ],
)
def test_an_error_names_the_line(tmp_path, lines, message):
    file = raw(tmp_path, lines)
    assert message.format(file.label) in error(file, "a")


def test_a_field_is_a_list_if_it_is_one_in_all_of_the_first_lines(tmp_path):
    assert rows(raw(tmp_path, '{"a": [1]}\n{"a": "x"}\n'), "a") == [("[1]",), ("x",)]
    assert "line 1,001 of" in error(raw(tmp_path, '{"a": [1]}\n' * 1000 + '{"a": "x"}\n'), "a")


def test_line_numbers_and_rows_do_not_depend_on_blocks(tmp_path, monkeypatch):
    lines = [json.dumps({"user": number, "text": "x" * (number % 37)}) for number in range(100)]
    expected = [(str(number),) for number in range(100)]
    monkeypatch.setattr(json_lines, "BLOCK", 64)
    file = raw(tmp_path, gzip.compress(b"\xef\xbb\xbf" + "\n".join(lines).encode()), "events.json.gz")
    assert rows(file, "user") == expected
    monkeypatch.setattr(json_lines, "FRAME_BYTES", 1)
    frames = list(read_json_lines(file, ["user"], "dataset.interactions"))
    assert len(frames) > 40 and [row for frame in frames for row in frame.rows()] == expected
    lines[71] = '{"user": }'
    assert "line 72 of" in error(raw(tmp_path, "\n".join(lines)), "user")
    lines[2:] = [json.dumps({"user": "y" * 200})]
    assert "line 3 of" in error(raw(tmp_path, "\n".join(lines)), "user")


def test_python_literals_are_read_as_python_reads_them(tmp_path):
    lines = [
        """{u'asin': u'B000', "title": "It's \\"it\\"", 'price': None, 'new': True, 'c': [['a', 'b']]}""",
        """{'asin': 7, 'title': 'caf\\xe9 \\u2014 \\'x\\' None', 'price': 1.50, 'new': False, 'c': []}""",
        """{'asin': 'x', 'title': 'joined ' 'text\\101', 'c': (('a',),)}""",
    ]
    file = raw(tmp_path, "\n".join(lines))
    assert rows(file, "asin", "title", "price", "new", "c", literal=True) == [
        ("B000", 'It\'s "it"', None, "true", [["a", "b"]]),
        ("7", "café — 'x' None", "1.5", "false", []),
        ("x", "joined textA", None, None, [["a"]]),
    ]
    assert first_fields(file) == {"asin", "title", "price", "new", "c"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{'a': 'trunc", "unterminated string literal"),
        ("{'a': __import__('os').system('touch x')}", "something in it is not a constant"),
        ("{'a': " + "-" * 10_000 + "1}", "nested too deeply"),
        ("{'a': " + "[" * 100_000 + "}", "too many nested parentheses"),
        ("{'a': {1, 2}}", "Object of type set"),
        ("{'a': b'x'}", "Object of type bytes"),
        ("['a']", "it is a list"),
        ("{'a': (" + "1," * 200_000 + ")}", "longer than 256 KiB"),
    ],
)
def test_a_line_that_is_no_plain_dictionary_is_named(tmp_path, line, reason):
    file = raw(tmp_path, "{'a': 1}\n" + line)
    assert f"line 2 of {file.label} is not a Python dictionary ({reason}" in error(file, "a", literal=True)


text = st.text("a'\"\\\nux?\x80\u2028\U0001f600\U000e0001é", max_size=8)
value = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
value |= st.lists(value | st.lists(text, max_size=2), max_size=2)


@settings(max_examples=40)
@given(st.lists(st.dictionaries(text, value, max_size=3), min_size=1, max_size=3))
def test_rewritten_literals_are_what_the_parser_reads(dictionaries):
    lines = "\n".join(map(repr, dictionaries)).encode()
    for rewritten, line, value in zip(
        literals_to_json(lines).split(b"\n"), lines.split(b"\n"), dictionaries, strict=True
    ):
        if rb"\U" not in line:  # JSON has no such escape
            assert json.loads(rewritten) == value
        assert json.loads(literal_to_json(line)) == value


def test_a_long_line_needs_no_parser(tmp_path):
    line = "{'a': [" + "1, " * 100_000 + "None]}\n"
    assert len(rows(raw(tmp_path, line + "{'a': ('exotic',)}"), "a", literal=True)[0][0]) == 100_001


def test_an_escape_that_json_reads_otherwise_is_left_to_the_parser(tmp_path):
    assert rows(raw(tmp_path, r"""{'a': "\/"}"""), "a", literal=True) == [(r"\/",)]


def test_frames_have_at_most_the_rows_of_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "CHUNK_ROWS", 7)
    frames = list(read_json_lines(raw(tmp_path, '{"a":1}\n' * 20), ["a"], "dataset.interactions"))
    assert [len(frame) for frame in frames] == [7, 7, 6]
    assert pl.concat(frames)["a"].to_list() == ["1"] * 20


@pytest.mark.parametrize("content", ['[{"user": 1}]', "user,item\n1,2\n", "x" * (1 << 12)])
def test_names_of_fields_of_what_is_not_json_lines(tmp_path, content):
    with pytest.raises(
        DataError, match=r"dataset\.items: .* does not begin with lines of JSON objects; .* without a list"
    ):
        json_fields(raw(tmp_path, content), "dataset.items")
