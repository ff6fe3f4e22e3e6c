"""The Ray engine on a cluster of two machines, as far as one machine can pretend: what dies, hangs or lies there."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.backends.model_source import QUIET_RAY

os.environ.update(QUIET_RAY)  # Ray reads it when it is imported
pytest.importorskip("ray")

from ray.cluster_utils import Cluster

from eimf.errors import MissingError, ModelError, SettingError
from eimf.esim.fake import FakeGenerator
from eimf.esim.generate import Reply, Request
from eimf.esim.ray_engine import Pool, RayGenerator
from eimf.store.artifact import Store
from pipeline.backends.ray_cluster import RayCluster
from pipeline.stages.stage_one import run_esim
from tests import world as planted
from tests.pipeline.backends.ray_engines import Trouble

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
"""A node that is gone is found out in a second, not in fifteen."""
POOL = Pool(replicas=2, gpus=0, cpus=1, concurrent_requests=8, deadline_seconds=60, restarts=2)
REQUESTS = [Request(str(number), f"<user>\n1. jazz {number}\n2. jazz", number) for number in range(200)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without a core, and two machines with one each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": QUICK})
        cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
        yield cluster
        cluster.shutdown()


def answers(cluster: Cluster, trouble: Trouble, pool: Pool = POOL) -> Iterator[Reply]:
    engine = RayGenerator(RayCluster(cluster.address), trouble, pool, time.monotonic)
    try:
        yield from engine.generate(REQUESTS)
    finally:
        engine.close()


def by_key(replies: list[Reply]) -> list[Reply]:
    return sorted(replies, key=lambda reply: int(reply.key))


# Kills itself at the tenth reply from the cluster.
DYING = """
import os, signal, sys
from itertools import islice
from pathlib import Path
from eimf.store.artifact import Store
from pipeline.backends.engines import Engines
from pipeline.stages.stage_one import engines_of, run_esim
from tests import world as planted

class Dying:
    def __init__(self, engine):
        self.engine = engine

    def generate(self, requests):
        yield from islice(self.engine.generate(requests), 10)
        os.kill(os.getpid(), signal.SIGKILL)

class DyingEngines(Engines):
    def generator(self):
        return Dying(super().generator())

recipe = planted.recipe(Path(sys.argv[2]), "runtime.engine=ray", f"runtime.ray_address={sys.argv[1]}")
store = Store(Path(sys.argv[3]))
run_esim(recipe, store, engines_of(recipe, store, DyingEngines))
"""
EXPECTED = list(FakeGenerator(3).generate(REQUESTS))


def test_every_request_gets_its_reply_once_from_two_machines(cluster, tmp_path, capfd):
    assert by_key(list(answers(cluster, Trouble(tmp_path, pause=0.005)))) == EXPECTED
    assert len(list(tmp_path.glob("*.pid"))) == 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("kind", "deadline"), [("die", 60), ("hang", 2)])
def test_another_replica_answers_for_one_that_died_or_hangs(kind, deadline, cluster, tmp_path, capfd):
    pool = replace(POOL, deadline_seconds=deadline)
    assert by_key(list(answers(cluster, Trouble(tmp_path, kind, at="120"), pool))) == EXPECTED
    assert len(list(tmp_path.glob("*.met"))) == 2  # a second replica came by
    assert capfd.readouterr() == ("", "")


def test_a_request_that_ends_every_replica_ends_the_run_in_one_line(cluster, tmp_path):
    replies = answers(cluster, Trouble(tmp_path, "die", at="120", times=99))
    with pytest.raises(ModelError, match=r"^llm.model: a replica failed .*finished replies are kept.*$"):
        list(replies)


@pytest.mark.parametrize(
    ("kind", "message"), [("start", "llm.model: no such model; give another"), ("setting", "llm.max_prompt_tokens: 1")]
)
def test_a_fault_that_every_replica_would_have_is_told_as_it_is(kind, message, cluster, tmp_path):
    with pytest.raises((ModelError, SettingError), match=f"^{message}"):
        list(answers(cluster, Trouble(tmp_path, kind, at="3")))


def test_a_killed_run_resumes_to_the_same_artifact(cluster, tmp_path, world_folder):
    alone, store = Store(tmp_path / "alone"), Store(tmp_path / "ray")
    command = [sys.executable, "-c", DYING, cluster.address, str(world_folder), str(store.root)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    assert subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == -signal.SIGKILL
    assert len(list((store.root / "replies").rglob("*.parquet"))) == 2  # of four replies each
    settings = ("runtime.engine=ray", f"runtime.ray_address={cluster.address}")
    built = run_esim(planted.recipe(world_folder, *settings), store)
    assert built["interests"].manifest.summary["llm_requests"] == 15 - 8
    for kind, artifact in run_esim(planted.recipe(world_folder), alone).items():
        assert (built[kind].key, built[kind].manifest.files) == (artifact.key, artifact.manifest.files)


def test_a_machine_that_is_gone_is_replaced_by_the_others(cluster, tmp_path, capfd):
    node = cluster.add_node(num_cpus=1)
    replies = answers(cluster, Trouble(tmp_path, pause=0.02), replace(POOL, replicas=3))
    read = [next(replies) for _ in range(10)]
    for processes in node.all_processes.values():
        for process in processes:
            process.process.kill()
    assert by_key([*read, *replies]) == EXPECTED
    assert capfd.readouterr() == ("", "")


def test_a_cluster_whose_head_is_gone_is_left_in_one_line(cluster, tmp_path, capfd):
    connection = RayCluster(cluster.address, gone_seconds=2)
    engine = RayGenerator(connection, Trouble(tmp_path, pause=0.3), POOL, time.monotonic)
    replies = engine.generate(REQUESTS)
    next(replies)
    for processes in cluster.head_node.all_processes.values():
        for process in processes:
            process.process.kill()
    with pytest.raises(MissingError, match=r"^runtime.ray_address: the head .* is gone; .* finished replies are kept$"):
        list(replies)
    engine.close()
    with pytest.raises(MissingError, match=r"^runtime.ray_address: .*, but no connection \(nothing listens there\); "):
        RayCluster(cluster.address)
    assert capfd.readouterr() == ("", "")
