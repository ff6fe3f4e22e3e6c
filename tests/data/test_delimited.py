"""Text files as their writers meant them, or refused with the line."""

import csv
import io
import random

import pytest

from eimf.data.files import read_columns
from eimf.errors import DataError


def read(tmp_path, content: str | bytes, name: str = "f.csv") -> list[tuple[str | None, ...]]:
    """The columns `a` and `b` of a file, row by row."""
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    table = read_columns(tmp_path / name, "dataset.items", [("s", "a"), ("s", "b")])
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


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
    with pytest.raises(DataError, match=r"cannot be read \(.*UTF8.*; give .* a CSV or TSV file in UTF-8"):
        read(tmp_path, "a,b\ni0,é\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"cannot be read \(.*utf-8"):
        read(tmp_path, "a,b\ni0,x\n".encode("utf-16"))
    long = "x" * 9_000_000
    assert read(tmp_path, f'a,b\ni0,"{long}"\n') == [("i0", long)]


@pytest.mark.parametrize("seed", range(40))
def test_every_file_is_read_as_pythons_strict_reader_reads_it(tmp_path, seed):
    """Random characters of the grammar: the same rows, or both refuse."""
    rng = random.Random(seed)
    body = "".join(
        rng.choice(['"', '"', ",", "\n", "a", "b", '""', "x,y\n", '"q",', " "]) for _ in range(rng.randrange(40))
    )
    content = f"a,b\n{body}\n"
    try:
        wanted = [tuple(row) for row in csv.reader(io.StringIO(content, newline=""), strict=True) if row][1:]
        assert all(len(row) == 2 for row in wanted)
    except (csv.Error, AssertionError):
        wanted = None
    if not wanted:
        with pytest.raises(DataError):
            read(tmp_path, content)
    else:
        assert read(tmp_path, content) == [(a or None, b or None) for a, b in wanted]
