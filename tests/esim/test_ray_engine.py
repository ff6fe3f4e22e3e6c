"""The Ray engine on a cluster of two machines, as far as one machine can pretend: what dies, hangs or lies there."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.backends.model_source import QUIET_RAY

os.environ.update(QUIET_RAY)  # Ray reads it when it is imported
pytest.importorskip("ray")

from ray.cluster_utils import Cluster

from eimf.errors import ModelError, SettingError
from eimf.esim.fake import FakeGenerator
from eimf.esim.generate import Reply, Request
from eimf.esim.ray_engine import Pool, RayGenerator
from pipeline.backends.ray_cluster import RayCluster
from tests.esim.ray_engines import Trouble

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
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


def test_a_machine_that_is_gone_is_replaced_by_the_others(cluster, tmp_path, capfd):
    node = cluster.add_node(num_cpus=1)
    replies = answers(cluster, Trouble(tmp_path, pause=0.02), replace(POOL, replicas=3))
    read = [next(replies) for _ in range(10)]
    for processes in node.all_processes.values():
        for process in processes:
            process.process.kill()
    assert by_key([*read, *replies]) == EXPECTED
    assert capfd.readouterr() == ("", "")
