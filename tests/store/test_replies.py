import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eimf import schema
from eimf.errors import ArtifactError
from eimf.store.replies import ReplyStore


def row(key: str, attempt: int = 0, reply: str = "[]") -> dict[str, object]:
    return {
        schema.REQUEST_KEY: key,
        schema.ATTEMPT: attempt,
        schema.REPLY: reply,
        schema.PROMPT_TOKENS: 1,
        schema.REPLY_TOKENS: 1,
    }


def test_parts_add_up_and_a_row_written_twice_appears_once(tmp_path):
    replies = ReplyStore(tmp_path, "g")
    assert replies.read().num_rows == 0
    replies.append([row("b"), row("a")])
    replies.append([row("a"), row("a", 1, "[1]")])
    replies.append([])
    rows = [(entry["request_key"], entry["attempt"]) for entry in replies.read().to_pylist()]
    assert rows == [("a", 0), ("a", 1), ("b", 0)]


def test_generators_do_not_see_each_others_replies(tmp_path):
    ReplyStore(tmp_path, "g").append([row("a")])
    assert ReplyStore(tmp_path, "h").read().num_rows == 0


def test_every_bit_of_a_part_and_of_the_list_counts(tmp_path):
    replies = ReplyStore(tmp_path, "g")
    replies.append([row("a"), row("b")])
    replies.append([row("c")])
    whole = replies.read()
    refused = flips = 0
    for path in sorted(replies.folder.iterdir()):
        data = path.read_bytes()
        for bit in range(0, 8 * len(data), 97):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            flips += 1
            try:
                assert replies.read() == whole
            except ArtifactError:
                refused += 1
        path.write_bytes(data)
    assert flips > 100 and refused >= flips - 1  # the last line's end may go: the part is there without it


def test_a_lost_part_or_a_lost_list_is_noticed(tmp_path):
    replies = ReplyStore(tmp_path, "g")
    replies.append([row("a")])
    replies.append([row("b")])
    part = next(replies.folder.glob("*.parquet"))
    away = part.rename(tmp_path / part.name)
    with pytest.raises(ArtifactError, match=r"part .* is missing; copy it"):
        replies.read()
    part.mkdir()
    with pytest.raises(ArtifactError, match="is missing"):
        replies.read()
    part.rmdir()
    away.rename(part)
    (replies.folder / "parts.txt").rename(tmp_path / "parts.txt")
    with pytest.raises(ArtifactError, match="the list of the parts cannot be read"):
        replies.read()


def test_a_kill_between_part_and_list_loses_nothing(tmp_path):
    replies = ReplyStore(tmp_path, "g")
    replies.append([row("a")])
    listed = (replies.folder / "parts.txt").read_text()
    replies.append([row("b")])
    for left in ("", listed[:30]):  # nothing of the line, or a part of it
        (replies.folder / "parts.txt").write_text(listed + left)
        assert replies.read().num_rows == 2
    replies.append([row("c")])
    assert replies.read().num_rows == 3
    assert len((replies.folder / "parts.txt").read_text().splitlines()) == 2  # without the broken line


def write_part(replies: ReplyStore, table: pa.Table) -> None:
    """A part under its right name, whatever it holds."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data = sink.getvalue().to_pybytes()
    (replies.folder / f"{hashlib.sha256(data).hexdigest()}.parquet").write_bytes(data)


def parts_that_are_none() -> dict[str, pa.Table]:
    good = pa.Table.from_pylist([row("a")], schema=schema.REPLIES)
    nulls = {
        name: good.set_column(number, name, pa.nulls(1, good.schema.field(name).type))
        for number, name in enumerate((schema.REQUEST_KEY, schema.ATTEMPT, schema.REPLY))
    }
    broken = pa.array([b"\xff\xfe"]).cast(pa.string(), safe=False)
    return {
        "other columns": pa.table({"x": [1]}),
        "a column too many": good.append_column("x", [[1]]),
        "a column too few": good.drop_columns([schema.REPLY]),
        "another type": good.set_column(1, schema.ATTEMPT, pa.array([0], pa.int64())),
        "a negative attempt": good.set_column(1, schema.ATTEMPT, pa.array([-1], pa.int32())),
        "no UTF-8": good.set_column(2, schema.REPLY, broken),
        **{f"without {name}": table for name, table in nulls.items()},
    }


@pytest.mark.parametrize("what", parts_that_are_none())
def test_a_file_that_is_not_a_part_is_refused(tmp_path, what):
    replies = ReplyStore(tmp_path, "g")
    replies.append([row("a")])
    write_part(replies, parts_that_are_none()[what])
    with pytest.raises(ArtifactError, match="damaged reply part"):
        replies.read()


def test_a_part_in_flight_is_invisible_and_another_file_is_named(tmp_path):
    replies = ReplyStore(tmp_path, "g")
    replies.append([row("a")])
    (replies.folder / ".half.parquet.tmp").write_bytes(b"PAR1")
    assert replies.read().num_rows == 1
    (replies.folder / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=r"broken\.parquet: damaged reply part: its bytes differ from the sha256"):
        replies.read()


def test_a_device_in_place_of_a_part_or_the_list_is_not_read(tmp_path):
    replies = ReplyStore(tmp_path, "g")
    replies.append([row("a")])
    (replies.folder / f"{'0' * 64}.parquet").symlink_to("/dev/null")  # /dev/zero would have no end
    with pytest.raises(ArtifactError, match="no regular file"):
        replies.read()
    (replies.folder / "parts.txt").unlink()
    (replies.folder / "parts.txt").symlink_to("/dev/null")
    with pytest.raises(ArtifactError, match=r"parts\.txt.*no regular file"):
        replies.read()


def test_a_part_of_the_first_format_is_not_taken_for_a_lost_list(tmp_path):
    replies = ReplyStore(tmp_path, "g")
    replies.append([row("a")])
    (replies.folder / "parts.txt").unlink()
    next(replies.folder.glob("*.parquet")).rename(replies.folder / f"{'0' * 32}.parquet")  # a number drawn, then
    with pytest.raises(ArtifactError, match=r"replies of another format; start a new store, or move"):
        replies.read()


def test_a_part_written_by_an_earlier_version_is_read(tmp_path):
    """Columns, types, name and list as they were when the store had format 2: users have paid for such replies."""
    columns = {
        "request_key": pa.array(["ab" * 32, "cd" * 32], pa.string()),
        "attempt": pa.array([0, 2], pa.int32()),
        "reply": pa.array(['[{"interest": "jazz", "items": [1]}]', "Sorry."], pa.string()),
        "prompt_tokens": pa.array([400, 401], pa.int32()),
        "reply_tokens": pa.array([12, 3], pa.int32()),
        "finish_reason": pa.array(["stop", None], pa.string()),
    }
    folder = tmp_path / "replies" / "g"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "part", compression="zstd")
    data = (folder / "part").read_bytes()
    name = hashlib.sha256(data).hexdigest()
    (folder / "part").rename(folder / f"{name}.parquet")
    (folder / "parts.txt").write_text(f"{name}\n")
    replies = ReplyStore(tmp_path, "g")
    assert replies.read() == pa.table(columns)
    replies.append([row("ef" * 32)])
    assert replies.read()["request_key"].to_pylist() == ["ab" * 32, "cd" * 32, "ef" * 32]
    assert (folder / f"{name}.parquet").read_bytes() == data
