"""What a path names: files, folders, globs, archives and members, by name and content."""

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eimf.data.archive import data_name
from eimf.data.source import RawFile, open_source
from eimf.data.streams import BUFFER
from eimf.errors import DataError

FIELD = "dataset.path"
CONTENTS = {"ml/ratings.dat": b"1::2::5::7\n", "ml/movies.dat": b"2::Alien\n"}
COMPRESS = {".gz": gzip.compress, ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True), "": bytes}


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of every file of a source, by name."""
    read = {}
    for file in open_source(path, FIELD).files:
        with file.open() as stream:
            read[file.name] = stream.read()
    return read


def write_folder(folder: Path) -> Path:
    for name, content in CONTENTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """A tar file, compressed as its ending says."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    compress = COMPRESS[".gz"] if path.suffix == ".tgz" else COMPRESS.get(path.suffix, bytes)
    path.write_bytes(compress(tar.getvalue()))
    return path


def test_a_folder_and_every_archive_of_it_hold_the_same(tmp_path):
    assert contents(write_folder(tmp_path / "folder")) == CONTENTS
    assert contents(write_zip(tmp_path / "a.zip", CONTENTS)) == CONTENTS
    assert contents(write_zip(tmp_path / "stored.ZIP", CONTENTS, zipfile.ZIP_STORED)) == CONTENTS
    for ending in (".tar", ".tar.gz", ".tgz", ".tar.zst"):
        dotted = {f"./{name}": content for name, content in CONTENTS.items()}
        assert contents(write_tar(tmp_path / f"a{ending}", dotted)) == CONTENTS


@pytest.mark.parametrize("ending", [".zip", ".tgz"])
def test_files_within_an_archive_are_named_like_those_on_the_disk(tmp_path, ending):
    write = write_zip if ending == ".zip" else write_tar
    root = "./" if ending == ".tgz" else ""  # as `tar -cz .` writes
    members = {**CONTENTS, "top.dat": b"0\n"}
    archive = write(tmp_path / f"a{ending}", {f"{root}{name}": content for name, content in members.items()})
    for path, names in {
        "ml/ratings.dat": ["ml/ratings.dat"],
        "ml": ["ml/movies.dat", "ml/ratings.dat"],
        "*/r*.dat": ["ml/ratings.dat"],
        "*.dat": ["top.dat"],
    }.items():
        assert list(contents(archive / path)) == names
    with pytest.raises(DataError, match=r"has no file ml/tags\.dat; it holds \['ml/.*\.dat', 'top\.dat'\]"):
        open_source(archive / "ml/tags.dat", FIELD)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_files_have_names_without_the_ending(tmp_path, ending):
    compress = COMPRESS[ending]
    (tmp_path / f"a.csv{ending.upper()}").write_bytes(compress(b"user,item\n") + compress(b"1,2\n"))
    write_zip(tmp_path / "a.zip", {f"b.csv{ending}": compress(b"3,4\n")})
    assert contents(tmp_path / f"a.csv{ending.upper()}") == {"a.csv": b"user,item\n1,2\n"}
    assert contents(tmp_path / "a.zip") == {"b.csv": b"3,4\n"}


def test_hidden_files_links_and_what_lies_deeper_than_three_levels_are_no_data(tmp_path):
    outside = tmp_path / "secret.csv"
    outside.write_bytes(b"x\n")
    folder = tmp_path / "data"
    kept = ["a.csv", "b/c.csv", "b/c/d.csv"]
    for name in (*kept, "b/c/d/e.csv", ".hidden", ".git/x.csv", "_SUCCESS", "__MACOSX/a.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1\n")
    (folder / "link.csv").symlink_to(outside)
    (folder / "up").symlink_to(tmp_path)
    assert list(contents(folder)) == kept
    members = dict.fromkeys(["a.csv", "__MACOSX/._a.csv", ".DS_Store"], b"1\n")
    assert list(contents(write_zip(tmp_path / "mac.zip", members))) == ["a.csv"]


def test_a_glob_and_patterns_in_a_source(tmp_path):
    for name in ("part-0.csv", "part-1.CSV.gz", "notes.txt", "more/part-2.csv", ".part.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in open_source(tmp_path / "part-*", FIELD).files] == ["part-0.csv", "part-1.CSV"]
    assert [file.name for file in open_source(tmp_path / "**/*.csv", FIELD).files] == ["more/part-2.csv", "part-0.csv"]
    source = open_source(tmp_path, FIELD)
    found = [file.name for file in source.find(["part-*.csv"])]
    assert found == ["more/part-2.csv", "part-0.csv", "part-1.CSV"]
    assert source.find(["part"]) == ()
    (tmp_path / "[x].csv").write_bytes(b"1\n")
    assert list(contents(tmp_path / "[x].csv")) == ["[x].csv"]  # a name, as it is there


def test_only_a_plain_file_can_seek_and_others_are_copied_for_it(tmp_path):
    pq.write_table(pa.table({"x": [1, 2, 3]}), tmp_path / "a.parquet")
    plain = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(plain))
    write_zip(tmp_path / "a.zip", {"a.parquet": plain})
    before = sorted(tmp_path.iterdir())
    for path in before:
        file = open_source(path, FIELD).files[0]
        with file.open() as stream:
            assert stream.seekable() == file.is_plain == (path.name == "a.parquet")
        with file.open_seekable() as stream:
            assert pq.read_table(stream)["x"].to_pylist() == [1, 2, 3]
    assert sorted(tmp_path.iterdir()) == before


def test_pieces_of_any_size_can_be_read(tmp_path):
    content = bytes(range(256)) * (5 * BUFFER // 256)
    write_tar(tmp_path / "a.tar.zst", {"a.csv": content})
    write_zip(tmp_path / "a.zip", {"a.csv": content}, zipfile.ZIP_STORED)
    for name in ("a.tar.zst", "a.zip"):
        file = open_source(tmp_path / name, FIELD).files[0]
        for size in (-1, len(content), BUFFER - 1):
            with file.open() as stream:
                assert b"".join(iter(lambda stream=stream, size=size: stream.read(size), b"")) == content


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_closed_stream_closes_the_files_below_it(tmp_path):
    write_zip(tmp_path / "a.zip", {"a.csv.gz": gzip.compress(b"1\n")})
    write_tar(tmp_path / "a.tgz", {"a.csv": b"1\n"})
    before = descriptors()
    for name in ("a.zip", "a.tgz"):
        with open_source(tmp_path / name, FIELD).files[0].open() as stream:
            assert descriptors() == before + 1
            assert next(stream) == b"1\n"
        assert descriptors() == before


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.csv", "no file or folder .*none.csv; give a file, a folder, a glob such as"),
        ("*.tsv", r"no file matches .*\*.tsv; give a file"),
        ("empty", r"empty holds no visible file \(links in a folder are not followed\)"),
        ("pipe", "pipe is neither a file nor a folder"),
        ("x" * 5000, r"xxx \.\.\. \([\d,]+ characters\) \.\.\. .*x\); check the path"),
        ("a\0b", "no file or folder|embedded null"),
        ("e.csv/x.csv", "no file or folder"),
    ],
    ids=["none", "glob", "empty", "pipe", "long", "null", "below a file"],
)
def test_what_is_not_there_is_one_line(tmp_path, path, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "link.csv").symlink_to(tmp_path / "e.csv")
    (tmp_path / "e.csv").write_bytes(b"1\n")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=message) as error:
        open_source(tmp_path / path, FIELD)
    assert str(error.value).startswith(f"{FIELD}: ") and "\n" not in str(error.value) and len(str(error.value)) < 800


def test_names_that_are_not_utf_8_or_not_unique_are_one_line(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.csv").write_bytes(b"1\n")
    (tmp_path / "a" / "x.csv.gz").write_bytes(gzip.compress(b"1\n"))
    with pytest.raises(DataError, match=r"a/x\.csv and .*a/x\.csv\.gz are both x\.csv; remove one of them"):
        open_source(tmp_path / "a", FIELD)
    Path(os.fsdecode(bytes(tmp_path / "a") + b"/caf\xe9.csv")).write_bytes(b"1\n")
    with pytest.raises(DataError, match=r"the name '.*caf\\\\?udce9\.csv' is not UTF-8; rename that file"):
        open_source(tmp_path / "a", FIELD)


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "c.csv.zst").write_bytes(b"")
    write_zip(tmp_path / "d.zip", {"d.csv": b""})
    for path in sorted(tmp_path.iterdir()):
        file = open_source(path, FIELD).files[0]
        for reading in (file.open, file.open_seekable):
            with pytest.raises(DataError, match=r"[a-d]\.(csv|csv\.gz|csv\.zst|zip/d\.csv) is empty; give a file with"):
                reading()


def test_a_file_that_vanished_is_one_line(tmp_path):
    for file in (RawFile("a.csv", tmp_path / "a.csv"), RawFile("a.csv", tmp_path / "a.zip", "a.csv")):
        with pytest.raises(DataError, match=r"a\.csv cannot be read \(.*No such file.*check the path"):
            file.open()
    write_zip(tmp_path / "a.zip", {"b.csv": b"1\n"})
    write_tar(tmp_path / "a.tar", {"b.csv": b"1\n"})
    for name, message in (("a.zip", "There is no item named 'a.csv'"), ("a.tar", "has no file a.csv")):
        with pytest.raises(DataError, match=message):
            RawFile("a.csv", tmp_path / name, "a.csv").open()


def test_the_name_of_data_is_that_of_its_file_without_endings():
    names = {"ml-1m.zip": "ml-1m", "a.tar.gz": "a", "b.tgz": "b", "events.csv.zst": "events", "ml-1m/u.data": "u"}
    assert {file: data_name(file) for file in names} == names
