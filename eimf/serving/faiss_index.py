"""An approximate index: FAISS finds candidates for each interest, and the item vectors score them.

FAISS's readers trust a file in many places. So `read_faiss` is for a file whose sha256 was checked; before FAISS reads
it, its header must be that of an index of these items, and no allocation may be larger than the file and one table.
Somebody who can write a bundle with a sha256 of his own can still make FAISS fail in ways that these checks do not
cover.

Shapes: B queries, K interests, D width, N items, C candidates of a query, X excluded items.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

from eimf.errors import ArtifactError, MissingError, on_one_line
from eimf.serving.index import NOTHING, ExactIndex, Exclude, Found, Index, rescored

_FORMATS = {"hnsw": b"IHNs", "ivfpq": b"IwPf"}
_HEADER = struct.Struct("<4siqqq?i")
"""Format, width, items, two unused numbers, whether it is trained, and the metric."""
_UNUSED = 1 << 20
_INNER_PRODUCT = 0
_MOST = 1 << 16
"""Of any parameter."""
_MANY_EXCLUDED = 1000
"""If more items than these are excluded, comparing all items is as fast."""
_limits = Lock()


class FaissIndex:
    """HNSW over 8-bit vectors, or inverted lists of 4-bit product codes. Parameters, as tuned at export: `effort`, of
    HNSW the nodes it keeps in sight (efSearch), of lists how many it reads (nprobe); and `fetch`, the candidates of an
    interest for each item asked for.

    All items are compared instead if `allow` is given, if very many items are excluded, and if too few candidates are
    found."""

    def __init__(
        self, item_table: np.ndarray, index: Any, parameters: Mapping[str, float], *, threads: int = 1
    ) -> None:
        """`item_table` [N+1, D], whose row 0 is not an item. Raises ArtifactError for parameters that are none."""
        self._exact = ExactIndex(item_table)
        self._index, self._threads = index, threads
        self._effort, self._fetch = (_parameter(parameters, name) for name in ("effort", "fetch"))

    def search(
        self, interests: np.ndarray, count: int, *, exclude: Exclude | None = None, allow: np.ndarray | None = None
    ) -> Found:
        """As `Index.search`."""
        if allow is not None:
            return self._exact.search(interests, count, exclude=exclude, allow=allow)
        exclude = exclude or NOTHING
        step = self._num_items + 1
        distinct = np.unique(exclude.query * step + exclude.item_idx)  # a history may have an item twice
        excluded = np.bincount(distinct // step, minlength=len(interests))
        is_left = excluded <= _MANY_EXCLUDED
        item_idx = np.zeros((len(interests), 0), np.int64)
        if is_left.any():
            item_idx = self._candidates(interests, self._fetch * count + int(excluded[is_left].max()), exclude)
        found = rescored(self._exact.item_table, interests, item_idx, count)
        is_short = (found.item_idx == 0).sum(axis=1) > np.maximum(0, count - self._num_items + excluded)
        lacking = np.flatnonzero(is_short | ~is_left)
        if len(lacking):
            self._compare_all(found, lacking, interests, count, exclude)
        return found

    @property
    def _num_items(self) -> int:
        return len(self._exact.item_table) - 1

    def _candidates(self, interests: np.ndarray, count: int, exclude: Exclude) -> np.ndarray:
        """item_idx of `count` items of each interest, ascending, [B, C]; 0 for none, twice, or excluded."""
        queries = len(interests)
        with faiss_threads(self._threads):
            _, rows = self._index.search(
                padded(interests.reshape(-1, interests.shape[2]), self._index.d),
                min(count, self._num_items),
                params=self._search_parameters(count),
            )
        item_idx = np.sort(np.where(rows < self._num_items, rows + 1, 0).reshape(queries, -1), axis=1)
        item_idx[:, 1:][item_idx[:, 1:] == item_idx[:, :-1]] = 0
        if len(exclude.query):
            step = self._num_items + 1
            key = np.arange(queries)[:, None] * step + item_idx
            item_idx[np.isin(key, exclude.query * step + exclude.item_idx)] = 0
        return item_idx

    def _search_parameters(self, count: int) -> Any:
        import faiss as module

        faiss: Any = module  # what it makes by a patch of its own is not in its types
        if hasattr(self._index, "hnsw"):
            return faiss.SearchParametersHNSW(efSearch=max(self._effort, count))
        return faiss.SearchParametersIVF(nprobe=min(self._effort, self._index.nlist))

    def _compare_all(
        self, found: Found, queries: np.ndarray, interests: np.ndarray, count: int, exclude: Exclude
    ) -> None:
        """Replace what was `found` for some `queries`."""
        number = np.full(len(interests), -1)
        number[queries] = np.arange(len(queries))
        is_among = number[exclude.query] >= 0
        among = Exclude(number[exclude.query[is_among]], exclude.item_idx[is_among])
        exact = self._exact.search(interests[queries], count, exclude=among)
        for name, values in vars(exact).items():
            getattr(found, name)[queries] = values


def index_width(kind: str, width: int) -> int:
    """The width of the vectors in an index of `kind`. A product code is of two numbers, so an odd width gets a zero."""
    return width + width % 2 if kind == "ivfpq" else width


def padded(vectors: np.ndarray, width: int) -> np.ndarray:
    """`vectors` [n, D] with zeros after them, [n, width] float32."""
    if width > vectors.shape[1]:
        vectors = np.pad(vectors, ((0, 0), (0, width - vectors.shape[1])))
    return np.ascontiguousarray(vectors, np.float32)


def open_index(
    item_table: np.ndarray, kind: str, parameters: Mapping[str, float], data: np.ndarray | None, *, threads: int = 1
) -> Index:
    """The index of a bundle: its kind and parameters, and the bytes [n] uint8 of its file, whose sha256 was checked.
    Raises ArtifactError for a file that is not an index of these items, and MissingError without FAISS."""
    if kind == "exact" or data is None:
        return ExactIndex(item_table)
    index = read_faiss(data, kind, len(item_table) - 1, item_table.shape[1])
    return FaissIndex(item_table, index, parameters, threads=threads)


def read_faiss(data: np.ndarray, kind: str, items: int, width: int) -> Any:
    """The index of `kind` in the bytes `data` [n] uint8, whose sha256 was checked. Raises ArtifactError unless it is an
    index of `items` vectors of `width` numbers, and MissingError without FAISS."""
    limit = len(data) + _largest_table(items, width)
    width = index_width(kind, width)
    expected = (_FORMATS[kind], width, items, _UNUSED, _UNUSED, True, _INNER_PRODUCT)
    if len(data) < _HEADER.size or _HEADER.unpack(data[: _HEADER.size].tobytes()) != expected:
        raise _refusal(f"its header is not that of {items:,} vectors of {width} numbers in an index of kind {kind}")
    try:
        import faiss
    except ImportError as error:
        raise MissingError(
            "faiss", "not installed", "install the serving extra: pip install 'path/to/eimf[serve]'"
        ) from error
    try:
        with _largest_allocation(limit), faiss_threads(1):
            index = faiss.deserialize_index(np.ascontiguousarray(data))
            index.search(np.ones((1, width), np.float32), 1)
    except (RuntimeError, MemoryError) as error:
        raise _refusal(f"FAISS cannot read it ({on_one_line(error)})") from error
    if (index.d, index.ntotal, index.metric_type) != (width, items, _INNER_PRODUCT):
        raise _refusal("its content differs from its header")
    return index


def _largest_table(items: int, width: int) -> int:
    """Bytes of the largest table that FAISS may compute when it reads lists: for each of at most 3 sqrt(N) of them, and
    each pair of numbers, 16 products in float32. It is small beside the item vectors."""
    return math.ceil(3 * math.sqrt(items)) * (width + 1) // 2 * 16 * 4


@contextmanager
def _largest_allocation(size: int) -> Iterator[None]:
    """Let FAISS's readers take `size` bytes at a time at most."""
    import faiss

    with _limits:
        before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
        faiss.set_deserialization_vector_byte_limit(size + 1)
        faiss.set_deserialization_loop_limit(size)
        try:
            yield
        finally:
            faiss.set_deserialization_vector_byte_limit(before[0])
            faiss.set_deserialization_loop_limit(before[1])


@contextmanager
def faiss_threads(count: int) -> Iterator[None]:
    """Let FAISS use so many threads. OpenMP keeps the number for each calling thread, so every search says it."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _parameter(parameters: Mapping[str, float], name: str) -> int:
    value = parameters.get(name)
    if not isinstance(value, int) or not 1 <= value <= _MOST:
        raise _refusal(f"its parameter {name} is {value}")
    return value


def _refusal(problem: str) -> ArtifactError:
    return ArtifactError("index.faiss", problem, "copy the bundle again, or export it again")
