"""Archives and streams that were made to do harm, or are damaged: each is one line, and nothing is written."""

import gzip
import os
import stat
import tarfile
import zipfile
from copy import copy
from pathlib import Path

import pyarrow as pa
import pytest

from eimf.data.source import open_source
from eimf.data.streams import FREE_BYTES, MAX_RATIO, ForwardStream
from eimf.errors import DataError
from tests.data.test_source import CONTENTS, FIELD, write_tar, write_zip

TEXT = b"".join(b"%d,%d\n" % (user, user * 7919 % 10_007) for user in range(2000))
"""Some 20 kB that do not compress well."""


def refused(path: Path, message: str) -> None:
    """Opening or reading the source raises one line for its field, and leaves the folder as it was."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(DataError, match=message) as error:
        for file in open_source(path, FIELD).files:
            with file.open() as stream:
                while stream.read(1 << 20):
                    pass
    assert str(error.value).startswith(f"{FIELD}: ") and "\n" not in str(error.value)
    assert sorted(path.parent.rglob("*")) == before


OUTSIDE = ["../evil.csv", "a/../../evil.csv", "/etc/evil.csv", "C:\\evil.csv", "c:/evil.csv", "..\\evil.csv"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("ending", [".zip", ".tar", ".tgz"])
def test_a_path_that_leaves_the_folder(tmp_path, name, ending):
    write = write_zip if ending == ".zip" else write_tar
    path = write(tmp_path / f"a{ending}", {**CONTENTS, name: b"1\n"})
    refused(path, r"the path .*evil\.csv leaves the folder; do not unpack it")


def test_links_and_devices_in_archives(tmp_path):
    link = zipfile.ZipInfo("link.csv")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(tmp_path / "a.zip", r"link\.csv is a link or no plain file")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE):
        entry = tarfile.TarInfo("x.csv")
        entry.type, entry.linkname = kind, "/etc/passwd"
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            archive.addfile(entry)
        refused(tmp_path / "a.tar", r"x\.csv is a link or no plain file")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0], ids=["begin", "middle", "end", "last byte"])
@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst", ".zip", ".tar", ".tgz", ".tar.zst"])
def test_a_file_that_is_cut_off(tmp_path, ending, share):
    whole = tmp_path / f"whole{ending}"
    if ending == ".csv.gz":
        whole.write_bytes(gzip.compress(TEXT))
    elif ending == ".csv.zst":
        whole.write_bytes(pa.compress(TEXT, codec="zstd", asbytes=True))
    else:
        (write_zip if ending == ".zip" else write_tar)(whole, {"a.csv": TEXT})
    data = whole.read_bytes()
    whole.rename(tmp_path / "whole")
    if ending == ".tar":  # its last blocks are padding
        data = data[: len(TEXT)]
    (tmp_path / f"cut{ending}").write_bytes(data[: max(2, int((len(data) - 1) * share))])
    refused(tmp_path / f"cut{ending}", r"cut.* cannot be read \(.*give a whole file: this one is damaged or cut off")


def test_bytes_that_changed_are_noticed_by_their_checksum(tmp_path):
    for name, write in (("a.csv.gz", lambda path: path.write_bytes(gzip.compress(TEXT))), ("a.zip", None)):
        path = tmp_path / name
        write(path) if write else write_zip(path, {"a.csv": TEXT}, zipfile.ZIP_STORED)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        refused(path, "cannot be read")


BOMB = bytes(FREE_BYTES + 1)
HOLDS = rf"holds more than {FREE_BYTES:,} bytes, over {MAX_RATIO} times its size on the disk; decompress it yourself"


def test_a_bomb_is_refused_when_it_has_been_read_up_to_the_limit(tmp_path):
    packed = pa.compress(BOMB, codec="zstd", asbytes=True)
    assert len(packed) * MAX_RATIO < FREE_BYTES
    (tmp_path / "a.csv.zst").write_bytes(packed)
    refused(tmp_path / "a.csv.zst", rf"a\.csv\.zst {HOLDS}")
    write_zip(tmp_path / "a.zip", {"a.csv.zst": packed})
    refused(tmp_path / "a.zip", rf"a\.zip/a\.csv\.zst {HOLDS}")


def test_a_compressed_tar_is_a_bomb_by_what_all_its_members_hold(tmp_path):
    entry = tarfile.TarInfo("a.csv")
    entry.size = len(BOMB)
    tar = entry.tobuf() + BOMB
    (tmp_path / "a.tar.zst").write_bytes(pa.compress(tar, codec="zstd", asbytes=True))
    refused(tmp_path / "a.tar.zst", rf"a\.tar\.zst {HOLDS}")


def test_sizes_in_headers_are_not_believed(tmp_path):
    small = write_zip(tmp_path / "a.zip", {"a.csv": TEXT}).read_bytes()
    size = len(TEXT).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(small.replace(size, (10).to_bytes(4, "little")))
    refused(tmp_path / "a.zip", "cannot be read .*CRC")
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 32
    (tmp_path / "a.tgz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    refused(tmp_path / "a.tgz", "cannot be read .*a header of 4,294,967,296 bytes")


def test_members_that_share_their_bytes_are_no_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", TEXT)
        again = copy(archive.getinfo("a.csv"))
        again.filename = "b.csv"
        archive.filelist.append(again)
    refused(tmp_path / "a.zip", r"a\.zip: its files overlap; do not unpack it")


def test_an_encrypted_member_and_a_method_that_is_unknown(tmp_path):
    data = write_zip(tmp_path / "a.zip", {"a.csv": TEXT}).read_bytes()
    central = data.rindex(b"PK\x01\x02")
    for offset, value, message in ((8, 1, r"a\.csv is encrypted; decrypt"), (10, 9, "compression method is not")):
        changed = bytearray(data)
        changed[central + offset] |= value
        (tmp_path / "a.zip").write_bytes(changed)
        refused(tmp_path / "a.zip", message)


def test_no_archive_empty_archives_and_members_of_one_name(tmp_path):
    for ending in (".zip", ".tar", ".tgz"):
        (tmp_path / f"a{ending}").write_bytes(os.urandom(2000))
        refused(tmp_path / f"a{ending}", rf"a\{ending} cannot be read \(")
    refused(write_zip(tmp_path / "b.zip", {}), r"b\.zip holds no file; give another one")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a.csv", "1\n")
        archive.writestr("a.csv", "2\n")
    refused(tmp_path / "c.zip", r"c\.zip holds a\.csv twice")


def test_a_forward_stream_only_goes_forward(tmp_path):
    (tmp_path / "x").write_bytes(bytes(range(100)))
    with (tmp_path / "x").open("rb") as file:
        stream = ForwardStream(file)
        assert (stream.seek(10), stream.read(2), stream.tell()) == (10, bytes([10, 11]), 12)
        with pytest.raises(ValueError, match="in order"):
            stream.seek(5)
        assert stream.seek(1000) == 100
