"""Stage one with an LLM behind a server: the same artifact whatever fails on the way, and no finished reply is asked
for again."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from eimf import schema
from eimf.errors import ModelError, SettingError
from eimf.store import keys
from eimf.store.artifact import Artifact, Store
from eimf.store.replies import ReplyStore
from pipeline.backends.endpoint import API_KEY, api_key, checked_endpoint
from pipeline.recipe import Recipe
from pipeline.stages.stage_one import engines_of, run_esim
from tests import world as planted
from tests.esim.openai_server import NAME, Behaviour, serving
from tests.processes import wait_for

ROOT = Path(__file__).parents[2]
SERVED = ("llm.backend=vllm", f"llm.model=served:{NAME}", "runtime.engine=http", "runtime.reply_chunk_size=1")


def served(world_folder: Path, endpoint: str, *overrides: str) -> Recipe:
    return planted.recipe(world_folder, *SERVED, f"runtime.endpoint={endpoint}", *overrides)


def asked(artifacts: dict[str, Artifact]) -> int:
    return artifacts["interests"].manifest.summary["llm_requests"]


def files(artifacts: dict[str, Artifact]) -> list[object]:
    return [artifacts[kind].manifest.files for kind in ("requests", "interests", "interest_vectors", "esim")]


def finished(recipe: Recipe, store: Store) -> int:
    """How many replies the store holds."""
    identity = engines_of(recipe, store).generator_identity
    return ReplyStore(store.root, keys.digest(identity)).read().num_rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory, world_folder) -> dict[str, Artifact]:
    """Stage one by a server without faults."""
    with serving(Behaviour()) as endpoint:
        return run_esim(served(world_folder, endpoint), Store(tmp_path_factory.mktemp("whole")))


def test_faults_and_retries_of_the_server_leave_no_trace(world_folder, tmp_path, whole):
    assert asked(whole) == 15
    replies = whole["interests"].table("replies")
    assert replies[schema.STATUS].to_pylist() == ["ok"] * 15
    behaviour = Behaviour({0: "500", 3: "drop", 5: "garbage", 7: "429 1"})
    with serving(behaviour) as endpoint:
        recipe = served(world_folder, endpoint, "runtime.concurrent_requests=4", "runtime.request_seconds=2")
        artifacts = run_esim(recipe, Store(tmp_path))
    assert files(artifacts) == files(whole)
    assert len(behaviour.bodies) == 15 + 4 and behaviour.most <= 4


def test_a_malformed_reply_is_asked_for_again_with_another_seed(world_folder, tmp_path):
    behaviour = Behaviour(malformed=0.3)
    with serving(behaviour) as endpoint:
        artifacts = run_esim(served(world_folder, endpoint), Store(tmp_path))
    assert asked(artifacts) == len(behaviour.bodies) > 15
    assert len({body["seed"] for body in behaviour.bodies}) == len(behaviour.bodies)


def test_a_killed_client_asks_only_for_what_is_not_in_the_store(world_folder, tmp_path, whole):
    store, behaviour = Store(tmp_path), Behaviour(dict.fromkeys(range(9, 100), "hang"))
    with serving(behaviour) as endpoint:
        recipe = served(world_folder, endpoint)
        settings = [f"--set={text}" for text in (*planted.FAKES, *SERVED, f"runtime.endpoint={endpoint}")]
        start = "from pipeline.cli import main; main()"
        command = [sys.executable, "-c", start, "esim", f"--dataset={world_folder}", f"--store={store.root}", *settings]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), API_KEY: "secret"}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as client:
            assert wait_for(lambda: len(list((store.root / "replies").rglob("*.parquet"))) == 9, 60)
            client.send_signal(signal.SIGKILL)
            printed, _ = client.communicate()
        assert "secret" not in printed and finished(recipe, store) == 9
        first = list(behaviour.answered)
        behaviour.faults = {}
        artifacts = run_esim(recipe, store)
    assert asked(artifacts) == 15 - 9
    assert not set(first) & set(behaviour.answered[9:])
    assert files(artifacts) == files(whole)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


def test_a_killed_server_loses_no_finished_reply(world_folder, tmp_path, whole):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.esim.openai_server", str(port)]
    recipe = served(
        world_folder, f"http://127.0.0.1:{port}/v1", "runtime.concurrent_requests=1", "runtime.request_seconds=0.5"
    )
    store = Store(tmp_path)

    def listening() -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    with subprocess.Popen(command, cwd=ROOT) as server:
        assert wait_for(listening)

        def kill() -> None:
            wait_for(lambda: len(list((store.root / "replies").rglob("*.parquet"))) >= 3, 60)
            server.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(ModelError, match=r"runtime\.endpoint: no reply from \S+ for 1 s \(.*\); run the same"):
            run_esim(recipe, store)
        killer.join()
    assert 3 <= (kept := finished(recipe, store)) < 15
    with serving(Behaviour(), port):
        artifacts = run_esim(recipe, store)
    assert asked(artifacts) == 15 - kept
    assert files(artifacts) == files(whole)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["runtime.engine=http"], 'runtime.endpoint: not set, and runtime.engine is "http"; give the base URL'),
        (["runtime.engine=vllm"], "llm.model: served:little-model, which only a server has; set runtime.engine"),
        (["runtime.endpoint=gpu-box:8000"], "runtime.endpoint: 'gpu-box:8000' is no address of a server; give"),
        (["runtime.endpoint=http://box:port/v1"], "runtime.endpoint: 'http://box:port/v1' is no address of a server"),
        (["runtime.endpoint=http://me:secret@box/v1"], "runtime.endpoint: holds a user name or a password; leave it"),
    ],
)
def test_a_wrong_setting_is_one_line(world_folder, tmp_path, settings, problem):
    engines = engines_of(planted.recipe(world_folder, *SERVED, *settings), Store(tmp_path))
    with pytest.raises(SettingError) as error:
        engines.generator()
    (line,) = str(error.value).splitlines()
    assert line.startswith(problem) and "secret" not in line


def test_a_wrong_endpoint_is_refused_before_anything_is_built(world_folder, tmp_path):
    store = Store(tmp_path)
    with pytest.raises(SettingError, match=r"runtime\.endpoint: not set"):
        run_esim(planted.recipe(world_folder, *SERVED), store)
    assert not list(store.listing())


def test_the_key_is_read_from_the_environment(monkeypatch):
    monkeypatch.delenv(API_KEY, raising=False)
    assert api_key() is None
    monkeypatch.setenv(API_KEY, " a-key\n")
    assert api_key() == "a-key"
    monkeypatch.setenv(API_KEY, "a\nkey")
    with pytest.raises(SettingError, match=r"EIMF_API_KEY: holds a character that no HTTP header may hold") as error:
        api_key()
    assert "a\nkey" not in str(error.value)
    assert checked_endpoint("https://box/v1") == "https://box/v1"


def test_where_the_llm_runs_is_in_no_key(world_folder, tmp_path):
    store = Store(tmp_path)
    recipes = [
        planted.recipe(world_folder, "llm.backend=vllm", f"runtime.engine={engine}") for engine in ("vllm", "http")
    ]
    first, second = (engines_of(recipe, store).generator_identity for recipe in recipes)
    assert first == second and first["backend"] == "vllm"
    served_here = engines_of(served(world_folder, "http://box/v1"), store).generator_identity
    assert (served_here["backend"], served_here["model"]) == ("served", NAME) and "dtype" not in served_here
