"""Parts of the reply store that are merged: by one process or two, and with a kill at every step."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf import schema
from eimf.errors import ArtifactError
from eimf.store.replies import ReplyStore
from eimf.store.reply_parts import PartFolder

Row = tuple[str, int, str, int, int, str | None]
MOST = 3
"""Parts are merged if there are so many."""
KEYS = [digit * 64 for digit in "0123456789ab"]


def as_dicts(rows: list[Row]) -> list[dict[str, object]]:
    return [dict(zip(schema.REPLIES.names, row, strict=True)) for row in rows]


def as_rows(table: pa.Table) -> list[Row]:
    return [tuple(row.values()) for row in table.to_pylist()]


def expected(rows: list[Row], wanted: set[str]) -> list[Row]:
    """The definition: by request and attempt; of several replies the first in order, without a reason as the last."""
    first: dict[tuple[str, int], Row] = {}
    for row in sorted(rows, key=lambda row: (*row[:5], row[5] is None, row[5] or "")):
        first.setdefault(row[:2], row)
    return [first[name] for name in sorted(first) if name[0] in wanted]


def one(number: int, reply: str = "[]") -> list[Row]:
    return [(KEYS[number % len(KEYS)], number // len(KEYS), reply, 1, 1, "stop")]


def parts(replies: ReplyStore) -> set[str]:
    return {path.stem for path in replies.folder.glob("*.parquet")}


def listed(replies: ReplyStore) -> list[str]:
    return (replies.folder / "parts.txt").read_text().splitlines()


def killed_at(step: int, work: Callable[[], object], folder: Path) -> bool:
    """Run `work` in a child process that is killed at its `step`th operation on a file below `folder`, before the
    operation. False if it ended before that."""
    if not (child := os.fork()):
        left = step

        def on_event(event: str, values: tuple[object, ...]) -> None:
            nonlocal left
            if event in ("open", "os.rename", "os.remove") and str(values[0]).startswith(str(folder)):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            sys.addaudithook(on_event)
            work()
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


ROWS = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.integers(0, 2),
        st.sampled_from(["", "[]", "Sorry."]),
        st.just(1),
        st.integers(1, 2),
        st.sampled_from(["stop", None]),
    ),
    min_size=1,
    max_size=4,
)
STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 1), ROWS),
    st.tuples(st.just("compact"), st.integers(0, 1), st.none()),
    st.tuples(st.just("find"), st.integers(0, 1), st.sets(st.sampled_from(KEYS))),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(STEPS, min_size=4, max_size=24))
def test_two_writers_append_merge_and_find_as_a_dict_does(steps):
    with TemporaryDirectory() as folder:
        writers = [ReplyStore(Path(folder), "g", MOST) for _ in range(2)]
        known: list[Row] = []
        for step, writer, values in steps:
            if step == "append":
                writers[writer].append(as_dicts(values))
                known += values
            elif step == "compact":
                writers[writer].compact()
            else:
                assert as_rows(writers[writer].find(values)) == expected(known, values)
        assert as_rows(writers[0].read()) == expected(known, set(KEYS))
        writers[0].verify()
        assert not parts(writers[0]) or sorted(parts(writers[0])) == sorted(set(listed(writers[0])))


def test_merged_parts_are_few_sorted_and_without_duplicates(tmp_path):
    replies = ReplyStore(tmp_path, "g", 4)
    for number in [*range(20), *range(20)]:
        replies.append(as_dicts(one(number)))
    assert len(parts(replies)) < 8 and sorted(parts(replies)) == sorted(listed(replies))
    replies = ReplyStore(tmp_path, "g", 2)
    replies.compact()
    (part,) = parts(replies)
    keys = pq.read_table(replies.folder / f"{part}.parquet")[schema.REQUEST_KEY].to_pylist()
    assert keys == sorted(keys) and len(keys) == 20
    replies.compact()
    assert parts(replies) == {part}


def test_a_kill_at_any_step_of_append_and_merge_loses_no_row(tmp_path):
    """Every state that a kill leaves is whole for a reader, and the next writer resumes from it."""
    before, steps, merged = ReplyStore(tmp_path / "before", "g", MOST), 0, False
    for number in range(MOST - 1):
        before.append(as_dicts(one(number)))
    known, new = [*one(0), *one(1)], one(2)
    while killed_at(steps, partial(append_and_merge, root := copied(before, tmp_path / str(steps)), new), root):
        replies = ReplyStore(root, "g", MOST)
        assert as_rows(replies.read()) in (known, [*known, *new])
        merged |= len(parts(replies)) < len(known)
        replies.append(as_dicts(new))
        ReplyStore(root, "g", 2).compact()
        assert as_rows(replies.read()) == [*known, *new]
        steps += 1
    assert merged and steps > 12


def copied(replies: ReplyStore, root: Path) -> Path:
    """A copy of the store below `root`."""
    shutil.copytree(replies.folder.parents[1], root)
    return root


def append_and_merge(root: Path, rows: list[Row]) -> None:
    replies = ReplyStore(root, "g", MOST)
    replies.append(as_dicts(rows))
    replies.compact()


def test_two_processes_that_append_and_merge_while_a_third_reads(tmp_path):
    replies = ReplyStore(tmp_path, "g", MOST)

    def write(start: int) -> None:
        mine = ReplyStore(tmp_path, "g", MOST)
        for number in range(start, start + 15):
            mine.append(as_dicts(one(number)))

    children = []
    for start in (0, 10):
        if not (child := os.fork()):
            status = 1
            try:
                write(start)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    seen = 0
    while children:
        rows = replies.read().num_rows
        assert rows >= seen
        seen = rows
        if os.waitpid(children[0], os.WNOHANG)[0]:
            children.pop(0)
    assert as_rows(replies.read()) == expected([row for number in range(25) for row in one(number)], set(KEYS))


@pytest.mark.parametrize("action", ["merged", "lost"])
def test_a_part_that_goes_while_it_is_read_is_searched_where_it_was_merged_to(tmp_path, action):
    replies = ReplyStore(tmp_path, "g", 2)
    for number in range(2):
        PartFolder(replies.folder).add(part_of(one(number)))
    reading = PartFolder(replies.folder).read_all()
    first, _ = next(reading)
    if action == "merged":
        replies.compact()
        ((last, _),) = reading
        assert last in parts(replies) and last != first
    else:
        for path in replies.folder.glob("*.parquet"):
            if path.stem != first:
                path.unlink()
        with pytest.raises(ArtifactError, match=r"part .* is missing; copy it"):
            list(reading)


def part_of(rows: list[Row]) -> bytes:
    """The bytes of a part as it was written when parts were not merged."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(as_dicts(rows), schema=schema.REPLIES), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def test_a_damaged_part_and_files_of_others_stay_as_they_are(tmp_path):
    replies = ReplyStore(tmp_path, "g", 2)
    folder = PartFolder(replies.folder)
    names = [folder.add(part_of(one(number))) for number in range(4)]
    damaged = folder.path(names[0])
    damaged.write_bytes(whole := damaged.read_bytes()[:-1] + b"\0")
    others = {replies.folder / name: b"not ours" for name in ("notes.txt", ".eimf-1.tmp", "a.parquet")}
    for path, data in others.items():
        path.write_bytes(data)
    (replies.folder / f"{'1' * 64}.parquet").symlink_to(tmp_path / "elsewhere")
    replies.compact()
    assert all(path.read_bytes() == data for path, data in others.items()) and damaged.read_bytes() == whole
    assert (replies.folder / f"{'1' * 64}.parquet").is_symlink()
    (merged,) = parts(replies) - {names[0], "a", "1" * 64}
    assert merged not in names
    for read in (replies.read, replies.verify, lambda: replies.find(KEYS)):
        with pytest.raises(ArtifactError, match="damaged reply part"):
            read()


def test_a_look_up_reads_no_row_group_without_a_wanted_row(tmp_path, monkeypatch):
    replies = ReplyStore(tmp_path, "g", 2)
    keys = [f"{number:064x}" for number in range(5000)]
    for start in (0, 2500):
        replies.append(as_dicts([(key, 0, f"reply {key}", 1, 1, "stop") for key in keys[start : start + 2500]]))
    (path,) = replies.folder.glob("*.parquet")
    with pq.ParquetFile(path) as file:
        assert file.num_row_groups == 5  # 1,024 rows each
    read: list[int] = []
    read_row_groups = pq.ParquetFile.read_row_groups

    def noting(file: pq.ParquetFile, groups: list[int]) -> pa.Table:
        read.extend(groups)
        return read_row_groups(file, groups)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", noting)
    wanted = {keys[4999], keys[7], keys[1030], "f" * 64}
    assert as_rows(replies.find(wanted)) == [(k, 0, f"reply {k}", 1, 1, "stop") for k in sorted(wanted)[:3]]
    assert read == [0, 1, 4]
