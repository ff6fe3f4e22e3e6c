import pytest

from eimf import schema
from eimf.errors import ArtifactError
from eimf.store.rows import ReplyRows


def row(key: str, attempt: int = 0, reply: str = "[]") -> dict[str, object]:
    return {
        schema.REQUEST_KEY: key,
        schema.ATTEMPT: attempt,
        schema.REPLY: reply,
        schema.PROMPT_TOKENS: 1,
        schema.REPLY_TOKENS: 1,
    }


def test_parts_add_up_and_a_row_written_twice_appears_once(tmp_path):
    rows = ReplyRows(tmp_path, "g")
    assert rows.read().num_rows == 0
    rows.append([row("b"), row("a")])
    rows.append([row("a"), row("a", 1, "[1]")])
    rows.append([])
    found = [(entry["request_key"], entry["attempt"]) for entry in rows.read().to_pylist()]
    assert found == [("a", 0), ("a", 1), ("b", 0)]


def test_generators_do_not_see_each_others_replies(tmp_path):
    ReplyRows(tmp_path, "g").append([row("a")])
    assert ReplyRows(tmp_path, "h").read().num_rows == 0


def test_a_part_in_flight_is_invisible_and_a_damaged_one_is_named(tmp_path):
    rows = ReplyRows(tmp_path, "g")
    rows.append([row("a")])
    (rows.folder / ".half.parquet.tmp").write_bytes(b"PAR1")
    assert rows.read().num_rows == 1
    (rows.folder / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match=r"broken\.parquet: damaged reply part; remove the file"):
        rows.read()
