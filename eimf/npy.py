"""The header of an `.npy` file as numpy writes it for a plain array, read strictly: nothing in it is evaluated."""

import re
from dataclasses import dataclass

MAGIC = b"\x93NUMPY\x01\x00"
LARGEST_HEADER = 1 << 10
"""Bytes: what `parse_header` needs of a file. numpy writes 128 before an array of few dimensions."""
_HEADER = re.compile(rb"\{'descr': '([<|=>\w]+)', 'fortran_order': False, 'shape': \(([0-9, ]{0,60})\), \} *\n")
"""What numpy writes before an array, in all of its versions."""


@dataclass(frozen=True)
class Header:
    """`kind`, such as `<f4`, and `shape` of an array, and `begin`, the byte at which its numbers begin."""

    kind: str
    shape: tuple[int, ...]
    begin: int


def parse_header(head: bytes) -> Header | None:
    """The header at the beginning `head` of a file, or None if it is not that of a plain array in version 1.0 of the
    format."""
    begin = len(MAGIC) + 2 + int.from_bytes(head[len(MAGIC) : len(MAGIC) + 2], "little")
    header = _HEADER.fullmatch(head[len(MAGIC) + 2 : begin])
    if not head.startswith(MAGIC) or begin > len(head) or header is None:
        return None
    return Header(header[1].decode(), tuple(int(part) for part in header[2].split(b",") if part.strip()), begin)
