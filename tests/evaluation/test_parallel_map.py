"""Tasks in parallel: the same results in the same order as one after the other, and nothing left behind."""

import threading

import pytest
import torch

from eimf.evaluation.parallel_map import parallel_map

pytestmark = pytest.mark.parametrize("threads", [1, 2, 3], indirect=True)
CPU = torch.device("cpu")


def run(work, tasks):
    kept = []
    parallel_map(work, tasks, lambda task, result: kept.append((task, result)), CPU)
    return kept


def test_results_are_kept_in_order_by_the_calling_thread(threads):
    first_may_end = threading.Event()
    here = threading.get_ident()

    def work(task):
        if threads > 1 and task == 0:
            assert first_may_end.wait(10)  # the second task ends before the first
        if task == 1:
            first_may_end.set()
        return task * task

    kept = []
    parallel_map(work, range(20), lambda *result: kept.append((*result, threading.get_ident())), CPU)
    assert kept == [(task, task * task, here) for task in range(20)]


def test_no_gradients_are_taken_and_the_threads_of_operations_are_shared(threads):
    weight = torch.ones(1, requires_grad=True)
    assert [result for _, result in run(lambda task: (weight * task).requires_grad, range(4))] == [False] * 4
    assert {result for _, result in run(lambda task: torch.get_num_threads(), range(8))} == {1}
    assert torch.get_num_threads() == threads


def test_tasks_are_generated_as_they_are_needed(threads):
    """Not all at once: each holds what it is made of."""
    generated, most = 0, 0

    def tasks():
        nonlocal generated
        for task in range(100):
            generated += 1
            yield task

    def on_result(task, _):
        nonlocal most
        most = max(most, generated - task)

    parallel_map(lambda task: None, tasks(), on_result, CPU)
    assert generated == 100 and most <= 2 * threads + 1


@pytest.mark.parametrize("where", ["work", "tasks", "on_result"])
def test_an_error_ends_it_and_the_threads_are_as_before(threads, where):
    seen = []

    def fail(at, task):
        if at == where and task == 5:
            raise KeyError(task)
        return task

    with pytest.raises(KeyError):
        parallel_map(
            lambda task: seen.append(task) or fail("work", task),
            (fail("tasks", task) for task in range(1000)),
            lambda task, _: fail("on_result", task),
            CPU,
        )
    assert torch.get_num_threads() == threads
    assert len(seen) < 100
