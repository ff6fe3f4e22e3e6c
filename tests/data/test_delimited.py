"""Text files as their writers meant them, or refused with the line."""

import csv
import io
import random

import pytest

from eimf.config import TableSettings
from eimf.data import quotes
from eimf.data.delimited import read_delimited
from eimf.data.formats.table import read_table
from eimf.data.source import RawFile
from eimf.data.text_file import BLOCK, LONGEST, Layout
from eimf.errors import DataError, SettingError

Rows = list[tuple[str | None, ...]]


def read(tmp_path, content: str | bytes, name: str = "f.csv", **table) -> Rows:
    """The columns `a` and `b` of a file, row by row."""
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    file = RawFile(name, tmp_path / name)
    return [
        row for frame in read_table(file, ["a", "b"], TableSettings(**table), "dataset.items") for row in frame.rows()
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("name", "separator"), [("f.csv", ","), ("f.TSV", "\t")])
def test_quoted_fields_of_csv_and_tsv(tmp_path, name, separator, newline):
    # E: what pandas writes of a title with a line break, a separator or a quote in it.
    rows = [("a", "b"), ("i0", f"two{newline}lines"), ("i1", f"x{separator}y"), ("i2", 'say "hi"'), ("i3", "")]
    text = io.StringIO()
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator=newline).writerows(rows)
    wanted = [(a, b or None) for a, b in rows[1:]]
    assert read(tmp_path, text.getvalue(), name) == wanted
    assert read(tmp_path, "\ufeff" + text.getvalue(), name) == wanted


@pytest.mark.parametrize("name", ["f.inter", "f.item"])
def test_quotes_of_recboles_files_are_plain_characters(tmp_path, name):
    content = 'a\tb\n1\t"Weird Al" Yankovic\n2\t"open\n3\t5" disk\n'
    assert read(tmp_path, content, name) == [("1", '"Weird Al" Yankovic'), ("2", '"open'), ("3", '5" disk')]


def test_a_quote_within_a_bare_field_is_a_character(tmp_path):
    assert read(tmp_path, 'a,b\ni1,1.5" floppy disk\ni2,"7"" single"\n') == [
        ("i1", '1.5" floppy disk'),
        ("i2", '7" single'),
    ]


def test_backslashes_before_quotes_are_escapes_if_there_are_no_others(tmp_path):
    content = 'a,b\ni0,"a \\"quoted\\" title"\ni1,"ends in \\\\"\ni2,"\\"\\", \\""\n'
    assert read(tmp_path, content) == [("i0", 'a "quoted" title'), ("i1", "ends in \\"), ("i2", '"", "')]
    # Without a quote that needs it, a backslash is a character.
    assert read(tmp_path, 'a,b\ni0,"C:\\"\ni1,\\n\n') == [("i0", "C:\\"), ("i1", "\\n")]
    # One writer doubles a backslash elsewhere, another does not.
    with pytest.raises(DataError, match=r"\(line 2: a quote within a quoted field is not doubled\)"):
        read(tmp_path, 'a,b\ni0,"a \\"quoted\\" title"\ni1,C:\\temp\n')


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,b\ni0,x\ni1\n", "line 3 has 1 fields, the header has 2"),
        ("a,b\ni0,x\n\ni1\n", "line 4 has 1 fields, the header has 2"),
        ("a,b\ni0,x,y\n", "line 2 has 3 fields, the header has 2"),
        ('a,b\ni0,"x\ny"\n"i1"\n', "line 4 has 1 fields, the header has 2"),
        ('a,b\ni0,x\ni1,"Weird Al" Yankovic\n', "line 3: a quote within a quoted field is not doubled"),
        ('a,b\ni0,x\ni1,"open\ni2,y\n', "line 3: a quoted field is never closed"),
        ('a,b\ni0,"x" \n', "line 2: a quote within a quoted field is not doubled"),
    ],
)
def test_malformed_rows_are_refused_with_their_line(tmp_path, content, problem):
    with pytest.raises(DataError, match=rf"dataset\.items: .*f\.csv cannot be read \({problem}\); give as many fields"):
        read(tmp_path, content)


def test_a_short_row_of_a_recbole_file(tmp_path):
    with pytest.raises(DataError, match="line 3 has 1 fields, the header has 2"):
        read(tmp_path, "a\tb\n1\tx\n2\n", "f.item")


def test_empty_lines_are_no_rows(tmp_path):
    # F1
    assert read(tmp_path, "\na,b\n\ni0,x\n\n\ni1,y\n\n") == [("i0", "x"), ("i1", "y")]


def test_encodings_and_long_fields(tmp_path):
    for content, line in (("a,b\ni0,é\n", 2), ("a,é\n", 1), ('a,b\r\ni0,"x\r\ny"\r\ni1,"é"\r\n', 4)):
        with pytest.raises(DataError, match=rf"\(line {line} is not utf-8 text\); set dataset\.table\.encoding"):
            read(tmp_path, content.encode("latin-1"))
    content = 'a,b\ni0,é\ni1,"ß ""x"""\n'
    for encoding in ("latin-1", "utf-16", "utf-16-le", "cp1252", "utf-8-sig"):
        assert read(tmp_path, content.encode(encoding), encoding=encoding) == [("i0", "é"), ("i1", 'ß "x"')]
    with pytest.raises(DataError, match=r"\(line 1 is not utf-8 text\)"):
        read(tmp_path, "a,b\ni0,x\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"\(line 1 is not utf-16 text\)"):  # no byte order mark
        read(tmp_path, "a,b\ni0,x\n".encode("utf-16-le"), encoding="utf-16")
    with pytest.raises(DataError, match=r"\(line 3 is not cp1252 text\)"):
        read(tmp_path, b"a,b\ni0,\xe9\ni1,\x81\n", encoding="cp1252")
    for encoding in ("utf-9", "base64"):
        with pytest.raises(SettingError, match=rf"dataset\.table\.encoding: '{encoding}' is no encoding"):
            read(tmp_path, "a,b\n", encoding=encoding)


def test_a_row_without_an_end_is_refused_before_it_fills_the_memory(tmp_path):
    with pytest.raises(DataError, match=r"items: .*f\.csv cannot be read \(a row is longer than 64 MiB\); give a text"):
        read(tmp_path, b"a,b\n1," + b"x" * (LONGEST + BLOCK))


def test_a_long_row_with_too_few_fields_is_one_error(tmp_path):
    with pytest.raises(DataError, match="line 2 has 1 fields, the header has 2"):
        read(tmp_path, f"a,b\n{'x' * (1 << 21)}\n")


def test_a_quote_that_is_never_closed_ends_with_the_longest_field(tmp_path, monkeypatch):
    monkeypatch.setattr(quotes, "LONGEST", 1 << 20)
    with pytest.raises(DataError, match=r"line 2: a field of more than 1 MiB, perhaps a quote that is never closed"):
        read(tmp_path, 'a,b\n1,"' + "x,y\n" * (1 << 19))


@pytest.mark.parametrize("content", ['a,b\ni0,"{long}"\ni1,y', "a,b\ni0,{long}\n\ni1,y\n", 'a,b\ni0,{long}"\ni1,y\n'])
def test_fields_longer_than_what_is_parsed_at_a_time(tmp_path, content):
    long = "x" * 1_500_000
    rows = read(tmp_path, content.format(long=long))
    assert [rows[0][1].strip('"') == long, rows[1:]] == [True, [("i1", "y")]]


FIELDS = ["a", "", '"q"', '"a\nb"', '"say ""x"""', '5"', '"x,y"', '"\n\n"', '""', " "]


@pytest.mark.parametrize("seed", range(40))
def test_every_file_is_read_as_pythons_strict_reader_reads_it(tmp_path, seed):
    """Random characters of the grammar: the same rows, or both refuse."""
    rng = random.Random(seed)
    body = "".join(
        rng.choice(['"', '"', ",", "\n", "a", "b", '""', "x,y\n", '"q",', " "]) for _ in range(rng.randrange(40))
    )
    if seed % 2:
        ends = ["\n", "\n\n", "\r\n"]
        body = "".join(f"{rng.choice(FIELDS)},{rng.choice(FIELDS)}{rng.choice(ends)}" for _ in range(rng.randrange(9)))
    content = f"a,b\n{body}\n"
    try:
        wanted = [tuple(row) for row in csv.reader(io.StringIO(content, newline=""), strict=True) if row][1:]
        assert all(len(row) == 2 for row in wanted)
    except (csv.Error, AssertionError):
        wanted = None
    (tmp_path / "f.csv").write_bytes(content.encode())
    for block in (1, 7, 64):
        frames = read_delimited(RawFile("f.csv", tmp_path / "f.csv"), ["a", "b"], Layout(","), "dataset.items", block)
        if wanted is None:
            with pytest.raises(DataError):
                list(frames)
        else:
            rows = [row for frame in frames for row in frame.rows()]
            assert rows == [(a or None, b or None) for a, b in wanted]


ROWS = [("1", "x y"), ("2", None), ("ü", "a:b")]


@pytest.mark.parametrize("separator", ["::", ";", "|", "\x1f", " \u00a6 ", "12345678"])
def test_separators_of_one_to_eight_characters(tmp_path, separator):
    lines = [separator.join(field or "" for field in row) for row in [("a", "b"), *ROWS]]
    for content in ("\n".join(lines), "\r\n".join(lines) + "\r\n"):
        assert read(tmp_path, content, "f.dat", separator=separator) == ROWS
    bare = "\n".join(lines[1:])
    assert read(tmp_path, bare, "f.dat", separator=separator, header=("a", "b")) == ROWS
    quoted = f'"a"{separator}b\n"1"{separator}"x{separator}y"\n'
    assert read(tmp_path, quoted, "f.txt", separator=separator) == [("1", f"x{separator}y")]


@pytest.mark.parametrize("block", [1, 8, 1000])
def test_a_byte_order_mark_is_skipped_at_the_start_only(tmp_path, block):
    (tmp_path / "f.csv").write_text("\ufeffa,b\n\ufeff1,x\n2,y\n", encoding="utf-8")
    frames = read_delimited(RawFile("f.csv", tmp_path / "f.csv"), ["a", "b"], Layout(","), "dataset.items", block)
    assert [row for frame in frames for row in frame.rows()] == [("\ufeff1", "x"), ("2", "y")]


def test_files_without_a_header(tmp_path):
    assert read(tmp_path, "1,x\n2,y", header=("a", "b")) == [("1", "x"), ("2", "y")]
    assert read(tmp_path, '1,"x"\n\n2,5" disk', header=("a", "b")) == [("1", "x"), ("2", '5" disk')]
    with pytest.raises(DataError, match="line 2 has 3 fields, 2 columns are named"):
        read(tmp_path, "1,x\n2,y,z", header=("a", "b"))
    with pytest.raises(
        DataError, match=r"line 1 has 1 fields, 2 columns are named \(should dataset\.table\.separator be ';'\?\)"
    ):
        read(tmp_path, "1;x\n2;y", header=("a", "b"))


@pytest.mark.parametrize("separator", ["::", "\t", ";", "|"])
def test_a_wrong_separator_is_named(tmp_path, separator):
    with pytest.raises(DataError, match=r"its header is one column, .*: the separator is not ','") as error:
        read(tmp_path, f"a{separator}b\n1{separator}2\n")
    assert f"set dataset.table.separator, perhaps to {separator!r}" in str(error.value)


def test_columns_that_are_not_there_or_there_twice(tmp_path):
    with pytest.raises(DataError, match=r"f\.csv has no column 'b'; name one of 'a', 'c'"):
        read(tmp_path, "a,c\n1,2\n")
    with pytest.raises(DataError, match=r"2 columns of .* are called 'b'"):
        read(tmp_path, "a,b,b\n1,2,3\n")
    assert read(tmp_path, "c,a,c,b\n1,2,3,4\n") == [("2", "4")]
    with pytest.raises(DataError, match=r"set dataset\.table\.separator if it is other delimited text"):
        read(tmp_path, "a b\n", "f.txt")
    for separator in ('"', "a\n", "\0"):
        with pytest.raises(SettingError, match=r"dataset\.table\.separator"):
            read(tmp_path, "a b\n", separator=separator)
