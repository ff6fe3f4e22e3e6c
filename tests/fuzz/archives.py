"""Damaged archives and compressed files, read to their ends."""

import gzip
import io
import random
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from eimf.data.source import open_source
from eimf.errors import UserError

_TEXT = b"".join(b"%d,%d\n" % (user, 7 * user) for user in range(2000))
_MEMBERS = {"a/events.csv": _TEXT, "items.csv.gz": gzip.compress(_TEXT, mtime=0), f"{'x' * 120}é.csv": b"1,2\n"}
_NUMBERS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"7777", b"\x7f\xff\xff\xff")
_ENDS = (".zip", ".pax.tar", ".gnu.tar", ".tgz", ".tar.zst", ".csv.gz", ".csv.zst")


def run_one(rng: random.Random, folder: Path) -> str:
    ending = rng.choice(_ENDS)
    path = folder / f"damaged{ending}"
    path.write_bytes(rng.choice(_DAMAGES)(rng, bytearray(_whole(ending))))
    try:
        with warnings.catch_warnings(action="ignore"):  # zipfile warns of members of one name
            for file in open_source(path, "dataset.path").files:
                with file.open() as stream:
                    while stream.read(1 << 16):
                        pass
    except UserError as error:
        return str(error)
    return "ok"


def _whole(ending: str) -> bytes:
    stream = io.BytesIO()
    if ending == ".zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in _MEMBERS.items():
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return stream.getvalue()
    if ending.startswith(".csv"):
        stream.write(_TEXT)
    else:
        kind = tarfile.GNU_FORMAT if "gnu" in ending else tarfile.PAX_FORMAT
        with tarfile.open(fileobj=stream, mode="w", format=kind) as tar:
            for name, content in _MEMBERS.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    if ending.endswith(".zst"):
        return bytes(pa.compress(stream.getvalue(), codec="zstd", asbytes=True))
    return gzip.compress(stream.getvalue(), mtime=0) if ending.endswith("gz") else stream.getvalue()


def _flip(rng: random.Random, data: bytearray) -> bytes:
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _cut(rng: random.Random, data: bytearray) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def _replace(rng: random.Random, data: bytearray) -> bytes:
    start = rng.randrange(len(data))
    data[start : start + rng.randrange(16)] = rng.randbytes(rng.randrange(16))
    return bytes(data)


def _change_a_size(rng: random.Random, data: bytearray) -> bytes:
    """Another number near the beginning or the end, where headers are."""
    start = min(rng.choice((rng.randrange(700), len(data) - rng.randrange(4, 400))), len(data) - 4)
    data[start : start + 4] = rng.choice(_NUMBERS)
    return bytes(data)


_DAMAGES: tuple[Callable[[random.Random, bytearray], bytes], ...] = (_flip, _cut, _replace, _change_a_size)
