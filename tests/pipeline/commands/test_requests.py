"""Batch files: the artifact is the same as if the LLM had been asked, and what is not used is counted."""

import json
import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eimf import schema
from eimf.errors import DataError, SettingError
from eimf.esim.fake import FakeGenerator, FakeRenderer
from eimf.esim.generate import Request
from eimf.store.artifact import Artifact, Store
from pipeline.commands.requests import run_export, run_import
from pipeline.recipe import Recipe
from pipeline.stages.pending import asked_stages
from pipeline.stages.stage_one import run_esim
from tests import world as planted

SERVED = ("llm.backend=vllm", "llm.model=served:writer")


def answer(line: str, malformed: float = 0.0) -> dict:
    """What a batch service writes for a line of a batch file, if the fake LLM is behind it."""
    request = json.loads(line)
    assert (request["method"], request["url"]) == ("POST", "/v1/chat/completions")
    body = request["body"]
    messages = body["messages"]
    prompt = messages[0]["content"] if "chat_template" in body else FakeRenderer().render(messages)
    structure = body.get("structured_outputs") or body["response_format"]["json_schema"]
    json_schema = structure.get("json") or structure["schema"]
    (reply,) = FakeGenerator(4, malformed).generate([Request("", prompt, body["seed"], json_schema)])
    choice = {"message": {"role": "assistant", "content": reply.text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.reply_tokens}
    content = {"model": body["model"], "choices": [choice], "usage": usage}
    response = {"status_code": 200, "request_id": "r", "body": content}
    return {"id": "b", "custom_id": request["custom_id"], "response": response, "error": None}


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def exported(recipe: Recipe, store: Store, path: Path) -> list[str]:
    run_export(recipe, store, path)
    return path.read_text().splitlines()


def files(artifacts: dict[str, Artifact]) -> dict[str, object]:
    return {kind: artifact.manifest.files for kind, artifact in artifacts.items()}


def asked(artifacts: dict[str, Artifact]) -> int:
    return sum(artifact.manifest.summary.get("llm_requests", 0) for artifact in artifacts.values())


@pytest.fixture(scope="module")
def closed(tmp_path_factory, world_folder) -> tuple[Recipe, Path, list[str]]:
    """The recipe with the fake LLM, a store up to stage 6, and the lines of its batch file."""
    recipe, folder = planted.recipe(world_folder), tmp_path_factory.mktemp("closed")
    return recipe, folder / "store", exported(recipe, Store(folder / "store"), folder / "requests.jsonl")


@pytest.fixture
def store(closed, tmp_path) -> Store:
    """A copy of that store."""
    return Store(shutil.copytree(closed[1], tmp_path / "store"))


def test_the_artifact_is_that_of_an_llm_that_was_asked(world_folder, tmp_path, capsys):
    settings = ("picks.enabled=true", "item_knowledge.enabled=true", "item_knowledge.max_words=12")
    recipe = planted.recipe(world_folder, *settings)
    whole, store = run_esim(recipe, Store(tmp_path / "whole")), Store(tmp_path / "store")
    capsys.readouterr()
    first = exported(recipe, store, tmp_path / "items.jsonl")
    assert "those of the later stages follow when these are answered" in capsys.readouterr().out
    run_import(recipe, store, [write(tmp_path / "items", [answer(line) for line in first])])
    second = exported(recipe, store, tmp_path / "users.jsonl")
    run_import(recipe, store, [write(tmp_path / "users", [answer(line) for line in reversed(second)])])
    assert "7a picks: 15 of 15 requests have a reply" in capsys.readouterr().out
    artifacts = run_esim(recipe, store)
    assert files(artifacts) == files(whole)
    assert asked(artifacts) == 0 and asked(whole) == len(first) + len(second)
    assert exported(recipe, store, tmp_path / "none.jsonl") == []


def test_malformed_replies_are_exported_again_as_another_attempt(closed, store, tmp_path, capsys):
    recipe, _, lines = closed
    run_import(recipe, store, [write(tmp_path / "first", [answer(line, malformed=0.4) for line in lines])])
    again = exported(recipe, store, tmp_path / "again.jsonl")
    assert (
        f"15 of 15 requests have a reply, {len(again)} malformed ones are to be asked again" in capsys.readouterr().out
    )
    names = [json.loads(line)["custom_id"] for line in again]
    assert 0 < len(names) < 15 and all(name.endswith("-1") for name in names)
    seeds = {json.loads(line)["custom_id"][:-2]: json.loads(line)["body"]["seed"] for line in lines}
    assert [seeds[json.loads(line)["custom_id"][:-2]] + 1 for line in again] == [
        json.loads(line)["body"]["seed"] for line in again
    ]


def test_what_cannot_be_used_is_counted_by_reason(closed, store, world_folder, tmp_path, capsys):
    recipe, _, lines = closed
    whole = [answer(line) for line in lines]
    with_other_prompts = planted.recipe(world_folder, "prompt.max_titles=3")
    of_other_prompts = exported(with_other_prompts, store, tmp_path / "prompts.jsonl")
    of_another_model = exported(planted.recipe(world_folder, "llm.seed=1"), store, tmp_path / "model.jsonl")
    rows = [
        *whole[:6],
        whole[0],
        *(answer(line) for line in of_other_prompts[:2]),
        *(answer(line) for line in of_another_model[:3]),
        {**whole[6], "custom_id": "request-1"},
        {**whole[7], "error": {"code": "expired"}, "response": None},
        {**whole[8], "response": {"status_code": 500, "body": {}}},
        {**whole[9], "response": {"status_code": 200, "body": {"choices": []}}},
        {**whole[10], "response": {**whole[10]["response"], "body": {**whole[10]["response"]["body"], "model": "x"}}},
    ]
    path = write(tmp_path / "replies.jsonl", rows)
    with path.open("a") as file:
        file.write('{"custom_id": "half\n\n[1]\n')
    capsys.readouterr()
    run_import(recipe, store, [path])
    printed = capsys.readouterr().out.splitlines()
    assert " 7 interests: 6 of 15 requests have a reply" in printed
    for part in ("4 of another model or other", "2 errors of the server", "2 lines that are no JSON", "1 given twice",
                 "1 to no request of this recipe", "1 without a reply", "2 to another prompt"):  # fmt: skip
        assert part in printed[-1]
    run_import(recipe, store, [path])  # again: nothing new, and no error
    assert "7 answered already" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"no reply can be used \(3 of another model or other settings of it\); give"):
        run_import(recipe, store, [write(tmp_path / "other", [answer(line) for line in of_another_model[:3]])])


@pytest.fixture(scope="module")
def whole(closed, tmp_path_factory) -> dict[str, Artifact]:
    """Stage one by the fake LLM."""
    return run_esim(closed[0], Store(shutil.copytree(closed[1], tmp_path_factory.mktemp("whole") / "store")))


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_plain_table_is_taken(closed, store, tmp_path, whole, ending):
    recipe, path = closed[0], tmp_path / f"replies.{ending}"
    names = [schema.REQUEST_KEY, schema.REPLY, schema.PROMPT_TOKENS, schema.REPLY_TOKENS]
    frame = pl.from_arrow(whole["interests"].table("replies", names))
    {"parquet": frame.write_parquet, "csv": frame.write_csv, "jsonl": frame.write_ndjson}[ending](path)
    run_import(recipe, store, [path])
    (asked_stage,) = asked_stages(recipe, store)
    rows = [asked_stage.replies.last(key).row for key in frame[schema.REQUEST_KEY]]
    assert [[row[name] for name in names] for row in rows] == [list(row) for row in frame.rows()]


def test_a_table_by_user_or_item_is_taken_for_a_model_that_only_has_a_name(world_folder, tmp_path, capsys):
    settings = ("item_knowledge.enabled=true", "item_knowledge.max_words=12")
    recipe, store = planted.recipe(world_folder, *SERVED, *settings), Store(tmp_path / "store")
    lines = exported(recipe, store, tmp_path / "items.jsonl")
    body = json.loads(lines[0])["body"]
    assert body["model"] == "writer" and body["messages"][0]["role"] == "system"
    assert not {"top_k", "structured_outputs", "chat_template"} & body.keys()
    items = [{"item_id": item, "knowledge": f"about {item} and more"} for item in planted.world().items["item_id"]]
    run_import(recipe, store, [write(tmp_path / "items", items)])
    run_export(recipe, store, tmp_path / "users.jsonl")
    users = [
        {"user_id": user, "interests": [{"interest": "boats", "items": [1]}], "next": ["a boat"]}
        for user in planted.world().interactions["user_id"].unique()
    ]
    capsys.readouterr()
    run_import(recipe, store, [write(tmp_path / "users", users)])
    assert f"not used: {len(users) - 15} to no request of this recipe" in capsys.readouterr().out
    artifacts = run_esim(recipe, store)
    assert asked(artifacts) == 0
    assert artifacts["interests"].table("interests")[schema.INTEREST].to_pylist() == ["boats"] * 15
    with pytest.raises(SettingError, match=r"does not say which LLM wrote it, .*set llm\.model=served:NAME"):
        run_import(planted.recipe(world_folder), store, [tmp_path / "users"])


def test_files_are_neither_replaced_nor_guessed(closed, store, tmp_path):
    recipe = closed[0]
    path = write(tmp_path / "mine", [{}])
    with pytest.raises(SettingError, match=r"--output: \S+ exists; name a file that does not"):
        run_export(recipe, store, path)
    for name, content in [("a.parquet", b"no"), ("a.csv", b""), ("missing", None)]:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=r"cannot be read \(.*\); give a batch file or a table"):
            run_import(recipe, store, [tmp_path / name])
    with pytest.raises(DataError, match=r"no reply can be used \(1 lines that are no JSON object\)"):
        run_import(recipe, store, [path])
    table = pa.table({"request_key": ["ab" * 32], "reply": ["[]"]})
    pq.write_table(table, tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"no reply can be used \(1 to no request of this recipe\)"):
        run_import(recipe, store, [tmp_path / "other.parquet"])
