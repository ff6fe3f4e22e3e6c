"""The file of results: whole at any time, the same whatever the order, and no digit changes unnoticed."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eimf import schema
from eimf.metrics import per_case
from pipeline.sweeps.results import FILE, MAX_RANK, TrialResult, add_results, pack_ranks, read_results
from tests.processes import wait_for

SUMMARY = {"ndcg@10": 0.25, "recall@10": 0.5, "best_epoch": 3, "seconds": 1.5}


def result(variant: str = "plain", seed: int = 1, **fields: object) -> TrialResult:
    defaults = {"dataset": "world", "backbone": "sasrec", "key": "0" * 64, "summary": SUMMARY}
    return TrialResult(
        **{**defaults, "variant": variant, "seed": seed, **pack_ranks(np.array([1, 60]), np.arange(2)), **fields}
    )


@given(st.lists(st.integers(1, 2 * MAX_RANK) | st.just(schema.NEVER), max_size=40))
def test_ranks_up_to_fifty_are_kept(ranks):
    kept = result(**pack_ranks(np.array(ranks, np.int32), np.arange(len(ranks))))
    assert kept.target_ranks().tolist() == [min(rank, MAX_RANK + 1) for rank in ranks]
    assert kept.target_cases().tolist() == list(range(len(ranks))) and kept.cases == len(ranks)


def test_packed_ranks_give_the_same_metrics_and_are_small():
    """Of U = 20,000 users a hundredth has its item among the first 50 of 5,000. A user costs the entropy of that, .081
    bits, and log2(50) / 100 = .056 bits for the rank: 343 bytes, 428 in base85. One bit per byte of eight users, the
    least that a Huffman code spends, makes it 20,000 / 8 / 8 = 313 bytes for the first part instead of 203."""
    ranks = np.random.default_rng(0).integers(1, 5001, 20_000)
    packed = pack_ranks(ranks, np.arange(20_000))
    assert len(packed["hits"]) + len(packed["ranks"]) < 1000
    before, after = (torch.from_numpy(values) for values in (ranks, result(**packed).target_ranks()))
    case = torch.arange(20_000)
    assert torch.equal(*(per_case("ndcg", values, case, 20_000, MAX_RANK) for values in (before, after)))


@given(st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_cases_may_have_several_targets(sizes):
    case = np.repeat(np.arange(len(sizes)), sizes)
    kept = result(**pack_ranks(np.full(len(case), 3), case))
    assert kept.cases == len(sizes) and kept.target_cases().tolist() == case.tolist()


@given(st.permutations([("plain", 2), ("plain", 10), ("paper", 1)]))
def test_the_file_is_sorted_whatever_the_order(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("results")
    for variant, seed in order:
        add_results(folder, [result(variant, seed)])
    results, problems = read_results(folder)
    assert list(results) == ["world.sasrec.paper.1", "world.sasrec.plain.2", "world.sasrec.plain.10"] and not problems
    before = (folder / FILE).read_bytes()
    assert before.count(b"\n") == 3 and [path.name for path in folder.iterdir()] == [FILE]
    add_results(folder, [result("plain", 2)])
    assert (folder / FILE).read_bytes() == before


def test_a_new_result_takes_the_place_of_an_earlier_one(tmp_path):
    add_results(tmp_path, [result("plain"), result("text")])
    newer = result("plain", key="1" * 64, checkpoint="2" * 64)
    add_results(tmp_path, [newer])
    assert read_results(tmp_path)[0] == {newer.name: newer, "world.sasrec.text.1": result("text")}


@pytest.mark.parametrize(
    "line", [b"[]", b"null", b"\xff", b"[" * 100_000, b'{"key": 1}', b"", b"<<<<<<< HEAD", b"1" * 5000]
)
def test_a_line_that_is_no_result_is_ignored_with_a_message(tmp_path, line):
    add_results(tmp_path, [result("plain"), result("text")])
    path = tmp_path / FILE
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line + b"\n" + second)
    results, problems = read_results(tmp_path)
    assert [kept.variant for kept in results.values()] == ["plain", "text"]
    assert problems == [f"{path}, line 2: damaged, or left by a merge; its trial runs again"]
    add_results(tmp_path, [result("text")])
    assert path.read_bytes() == first + second


def test_a_line_that_was_cut_off_or_changed_is_ignored(tmp_path):
    add_results(tmp_path, [result()])
    path = tmp_path / FILE
    whole = path.read_bytes()
    changes = [whole.replace(old, new) for old, new in ((b"0.25", b"0.35"), (b'"ranks"', b'"rank5"'), (b"256", b"255"))]
    for content in [*changes, whole[:-2], whole[1:], whole[: len(whole) // 2]]:
        assert content != whole
        path.write_bytes(content)
        assert read_results(tmp_path)[0] == {}
    path.write_bytes(whole[:-1])  # the end of the line alone is no loss
    assert list(read_results(tmp_path)[0].values()) == [result()]


def test_fields_of_another_type_are_damage_even_with_a_digest(tmp_path):
    from pipeline.sweeps import lines

    fields = json.loads(lines._line(result()))
    del fields["sha256"]
    for change in ({"seed": "1"}, {"targets": -1}, {"summary": None}, {"more": 1}):
        other = {**fields, **change}
        line = json.dumps({**other, "sha256": lines._digest(other)})
        (tmp_path / FILE).write_text(line + "\n")
        assert read_results(tmp_path)[0] == {}


def test_two_lines_of_one_trial_count_only_if_they_agree(tmp_path):
    add_results(tmp_path / "a", [result("plain"), result("text")])
    add_results(tmp_path / "b", [result("plain"), result("text", checkpoint="1" * 64)])
    path = tmp_path / "a" / FILE
    path.write_bytes(path.read_bytes() + (tmp_path / "b" / FILE).read_bytes())
    results, problems = read_results(tmp_path / "a")
    assert list(results) == ["world.sasrec.plain.1"]
    assert problems == [f"{path}: lines of world.sasrec.text.1 differ; it runs again"]


def add_many(folder: Path, variant: str) -> None:
    for seed in range(1, 1000):
        add_results(folder, [result(variant, seed)])


def test_sweeps_side_by_side_lose_nothing_and_a_kill_leaves_whole_lines(tmp_path):
    """Two processes add results; both are killed at some moment. What a process had added before is there."""
    start = multiprocessing.get_context("fork")
    writers = [start.Process(target=add_many, args=(tmp_path, variant)) for variant in ("plain", "text")]
    for writer in writers:
        writer.start()
    assert wait_for(lambda: len(read_results(tmp_path)[0]) >= 20, 60)
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    results, problems = read_results(tmp_path)
    assert not problems
    for variant in ("plain", "text"):
        seeds = sorted(kept.seed for kept in results.values() if kept.variant == variant)
        assert seeds == list(range(1, len(seeds) + 1))
