"""Arrays of an artifact: written plain, mapped read-only, and refused unless they are what is asked for."""

import io

import numpy as np
import pytest

from eimf.errors import ArtifactError
from eimf.store.arrays import map_array, write_array

NUMBERS = np.arange(1000, dtype=np.int32)


@pytest.mark.parametrize("count", [0, 1, 1000])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_an_array_is_mapped_as_it_was_written(tmp_path, count, dtype):
    path = tmp_path / "a.npy"
    write_array(path, NUMBERS[:count].astype(dtype))
    mapped = map_array(path, dtype, "again")
    assert mapped.dtype == dtype and mapped.tolist() == list(range(count))
    assert type(mapped) is np.ndarray and not mapped.flags.writeable and not mapped.flags.owndata
    assert np.array_equal(np.load(path, allow_pickle=False), mapped)  # numpy's own reader


def test_the_bytes_do_not_depend_on_layout_and_byte_order(tmp_path):
    paths = [tmp_path / f"{number}.npy" for number in range(3)]
    for path, array in zip(paths, (NUMBERS[::2], NUMBERS[::2].copy(), NUMBERS[::2].astype(">i4")), strict=True):
        write_array(path, array)
    assert len({path.read_bytes() for path in paths}) == 1


def saved(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


WHOLE = saved(NUMBERS, version=(1, 0))
OTHERS = {
    "another type": (saved(NUMBERS.astype(np.int64)), "of type <i8 and shape .1000., not of type <i4"),
    "unsigned": (saved(NUMBERS.astype(np.uint32)), "of type <u4"),
    "big-endian": (saved(NUMBERS.astype(">i4")), "of type >i4"),
    "a matrix": (saved(NUMBERS.reshape(10, 100)), r"shape \[10, 100\]"),
    "a number": (saved(np.array(1, np.int32)), r"shape \[\]"),
    "a pickle": (saved(np.array([{}], object), allow_pickle=True), r"of type \|O"),
    "a record": (saved(np.zeros(3, [("a", "<i4")])), "not an array that EIMF wrote"),
    "columns first": (saved(np.asfortranarray(NUMBERS.reshape(10, 100))), "not an array that EIMF wrote"),
    "version 2": (saved(NUMBERS, version=(2, 0)), "not an array that EIMF wrote"),
    "cut": (WHOLE[:-1], "4127 bytes, not the 4128 that its header tells"),
    "longer": (WHOLE + b"\0", "4129 bytes, not the 4128"),
    "cut header": (WHOLE[:50], "not an array that EIMF wrote"),
    "empty": (b"", "not an array that EIMF wrote"),
    "a length without end": (WHOLE.replace(b"(1000,)", b"(%s,)" % (b"9" * 40), 1), "not"),
    "a negative length": (WHOLE.replace(b"(1000,)", b"(-999,)", 1), "not an array that EIMF wrote"),
    "code": (WHOLE.replace(b"(1000,)", b"exit(1)", 1), "not an array that EIMF wrote"),
    "a zip file": (b"PK\x03\x04" + WHOLE, "not an array that EIMF wrote"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_anything_else_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / "a.npy"
    content, problem = OTHERS[name]
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"a\.npy: .*{problem}.*; again"):
        map_array(path, np.int32, "again")
