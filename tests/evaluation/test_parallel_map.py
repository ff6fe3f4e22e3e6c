"""Pieces of work side by side: the same results in the same order as one after the other, and nothing left behind."""

import threading

import pytest
import torch

from eimf.evaluation.parallel_map import parallel_map

pytestmark = pytest.mark.parametrize("threads", [1, 2, 3], indirect=True)
CPU = torch.device("cpu")


def run(work, pieces):
    kept = []
    parallel_map(work, pieces, lambda piece, found: kept.append((piece, found)), CPU)
    return kept


def test_results_are_kept_in_order_by_the_calling_thread(threads):
    first_may_end = threading.Event()
    here = threading.get_ident()

    def work(piece):
        if threads > 1 and piece == 0:
            assert first_may_end.wait(10)  # the second piece ends before the first
        if piece == 1:
            first_may_end.set()
        return piece * piece

    kept = []
    parallel_map(work, range(20), lambda *found: kept.append((*found, threading.get_ident())), CPU)
    assert kept == [(piece, piece * piece, here) for piece in range(20)]


def test_no_gradients_are_taken_and_the_threads_of_operations_are_shared(threads):
    weight = torch.ones(1, requires_grad=True)
    assert [found for _, found in run(lambda piece: (weight * piece).requires_grad, range(4))] == [False] * 4
    assert {found for _, found in run(lambda piece: torch.get_num_threads(), range(8))} == {1}
    assert torch.get_num_threads() == threads


def test_pieces_are_made_as_they_are_needed(threads):
    """Not all at once: each holds what it is made of."""
    made, most = 0, 0

    def pieces():
        nonlocal made
        for piece in range(100):
            made += 1
            yield piece

    def keep(piece, _):
        nonlocal most
        most = max(most, made - piece)

    parallel_map(lambda piece: None, pieces(), keep, CPU)
    assert made == 100 and most <= 2 * threads + 1


@pytest.mark.parametrize("where", ["work", "pieces", "keep"])
def test_an_error_ends_it_and_the_threads_are_as_before(threads, where):
    seen = []

    def fail(at, piece):
        if at == where and piece == 5:
            raise KeyError(piece)
        return piece

    with pytest.raises(KeyError):
        parallel_map(
            lambda piece: seen.append(piece) or fail("work", piece), (fail("pieces", piece) for piece in range(1000)),
            lambda piece, _: fail("keep", piece), CPU,
        )  # fmt: skip
    assert torch.get_num_threads() == threads
    assert len(seen) < 100
