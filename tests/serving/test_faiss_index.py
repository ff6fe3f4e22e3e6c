"""The approximate index against the exact one, and files that are not an index."""

import numpy as np
import pytest

from eimf.errors import ArtifactError
from eimf.export.index import build_index
from eimf.serving import faiss_index
from eimf.serving.faiss_index import FaissIndex, open_index, read_faiss
from eimf.serving.index import ExactIndex, Exclude

ITEMS, WIDTH, USERS, INTERESTS = 4000, 16, 40, 3


def vectors(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    """A mixture: items lie around 50 centres; one user's interests are three of them."""
    table = vectors(0, 50, WIDTH)[np.random.default_rng(1).integers(0, 50, ITEMS + 1)]
    table += 0.4 * vectors(2, ITEMS + 1, WIDTH)
    table[0] = 0
    return table


@pytest.fixture(scope="module")
def users() -> np.ndarray:
    return vectors(0, 50, WIDTH)[np.random.default_rng(3).integers(0, 50, (USERS, INTERESTS))]


@pytest.fixture(scope="module", params=["ivfpq", "hnsw"])
def built(request, table, users):
    return build_index(table, users, request.param, target_recall=0.95, count=20)


@pytest.fixture
def index(built, table) -> FaissIndex:
    return open_index(table, built.kind, built.parameters, built.data)


def test_what_is_found_has_the_scores_of_the_exact_index(index, table, users):
    found, exact = index.search(users, 20), ExactIndex(table).search(users, 20)
    for user in range(USERS):
        place = {item: number for number, item in enumerate(exact.item_idx[user].tolist())}
        both = [number for number, item in enumerate(found.item_idx[user].tolist()) if item in place]
        there = [place[found.item_idx[user, number]] for number in both]
        assert len(both) >= 16 and there == sorted(there)
        assert np.array_equal(found.scores[user, both], exact.scores[user, there])
        assert np.array_equal(found.interest[user, both], exact.interest[user, there])


def test_excluded_items_are_not_found_and_others_take_their_places(index, table, users):
    best = ExactIndex(table).search(users, 100).item_idx
    exclude = Exclude(np.repeat(np.arange(USERS), 100), best.ravel())
    found = index.search(users, 20, exclude=exclude)
    assert not any(np.intersect1d(found.item_idx[user], best[user]).size for user in range(USERS))
    assert (found.item_idx > 0).all()


def test_allowed_items_are_compared_exactly(index, table, users):
    allow = np.random.default_rng(4).integers(1, ITEMS + 1, 30)
    assert np.array_equal(
        index.search(users, 20, allow=allow).item_idx, ExactIndex(table).search(users, 20, allow=allow).item_idx
    )


def test_users_for_whom_much_is_excluded_are_answered_exactly(index, table, users, monkeypatch):
    monkeypatch.setattr(faiss_index, "_MANY_EXCLUDED", 5)
    exclude = Exclude(np.full(ITEMS - 7, 3), np.arange(1, ITEMS - 6))
    found, alone = index.search(users, 20, exclude=exclude), index.search(users, 20)
    exact = ExactIndex(table).search(users[3:4], 20, exclude=Exclude(np.zeros(ITEMS - 7, np.int64), exclude.item_idx))
    assert np.array_equal(found.item_idx[3], exact.item_idx[0]) and (found.item_idx[3] > 0).sum() == 7
    others = np.arange(USERS) != 3
    assert np.array_equal(found.item_idx[others], alone.item_idx[others])


def test_an_item_that_is_excluded_twice_counts_once(index, users):
    again = Exclude(np.zeros(1000, np.int64), np.repeat(np.arange(1, 11), 100))
    assert (index.search(users[:1], ITEMS - 10, exclude=again).item_idx > 10).all()


def test_too_few_candidates_are_made_up_for(index, table):
    odd = np.full((1, INTERESTS, WIDTH), np.nan, np.float32)
    odd[0, 0] = vectors(5, WIDTH)
    found, exact = index.search(odd, 20), ExactIndex(table).search(odd, 20)
    assert np.array_equal(found.item_idx > 0, exact.item_idx > 0)
    assert index.search(vectors(6, 0, 2, WIDTH), 20).item_idx.shape == (0, 20)


def test_another_table_another_kind_and_other_bytes_are_refused(built, table):
    other = {"ivfpq": "hnsw", "hnsw": "ivfpq"}[built.kind]
    for kind, items, width in [(built.kind, ITEMS + 1, WIDTH), (built.kind, ITEMS, 8), (other, ITEMS, WIDTH)]:
        with pytest.raises(ArtifactError, match=r"index.faiss: its header is not that of"):
            read_faiss(built.data, kind, items, width)
    for length in (0, 10, 36, 40, 500, len(built.data) // 2, len(built.data) - 1):
        with pytest.raises(ArtifactError, match=r"index.faiss: (its header|FAISS cannot read)"):
            read_faiss(built.data[:length], built.kind, ITEMS, WIDTH)


def test_a_size_beyond_the_file_is_refused_before_memory_is_taken(built):
    damaged = built.data.copy()
    damaged[37:45] = np.frombuffer(np.int64(2**39).tobytes(), np.uint8)  # the first size after the header
    with pytest.raises(ArtifactError, match=r"index.faiss: FAISS cannot read it"):
        read_faiss(damaged, built.kind, ITEMS, WIDTH)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"effort": 4}, {"effort": 0, "fetch": 1}, {"effort": 4, "fetch": 1 << 20}, {"effort": 4.5, "fetch": 1}],
)
def test_parameters_that_are_none_are_refused(table, parameters):
    with pytest.raises(ArtifactError, match=r"index.faiss: its parameter (effort|fetch) is"):
        FaissIndex(table, None, parameters)
