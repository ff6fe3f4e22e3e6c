"""Arrays of an artifact: plain `.npy` files, mapped into memory instead of read, so that processes share them."""

from pathlib import Path

import numpy as np

from eimf.errors import ArtifactError
from eimf.npy import LARGEST_HEADER, parse_header


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a one-dimensional array of little-endian numbers in version 1.0 of the format, without pickle."""
    assert array.ndim == 1 and not array.dtype.hasobject
    with path.open("wb") as stream:
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(plain))
        stream.write(plain.data)  # not `tofile`, which loses the number of the disk's error


def map_array(path: Path, dtype: type[np.number], hint: str) -> np.ndarray:
    """The one-dimensional array of a file, mapped read-only. Raises ArtifactError with this `hint` if the file is not
    an array of this type that `write_array` wrote."""
    wanted = np.dtype(dtype).newbyteorder("<")
    with path.open("rb") as stream:
        header = parse_header(stream.read(LARGEST_HEADER))
    if header is None:
        raise ArtifactError(str(path), "not an array that EIMF wrote", hint)
    if header.kind != wanted.str or len(header.shape) != 1:
        problem = f"an array of type {header.kind:.10} and shape {list(header.shape)[:4]}, not of type {wanted.str}"
        raise ArtifactError(str(path), problem, hint)
    size = header.begin + header.shape[0] * wanted.itemsize
    if path.stat().st_size != size:
        raise ArtifactError(str(path), f"{path.stat().st_size} bytes, not the {size} that its header tells", hint)
    mapped = np.memmap(path, wanted, "r", header.begin, header.shape)
    return mapped.view(np.ndarray)
