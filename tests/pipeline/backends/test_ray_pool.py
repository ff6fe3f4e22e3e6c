"""The Ray engine as far as it needs no Ray."""

import copy
import sys

import pytest

from eimf.config import RuntimeSettings
from eimf.errors import MissingError, ModelError, SettingError
from eimf.esim.ray_engine import Pool
from pipeline.backends.ray_cluster import RayCluster, ReplicaOfVllm, pool_of

FOUR_GPUS, TWO_GPUS, NO_GPU = {"CPU": 32.0, "GPU": 4.0}, {"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0}


@pytest.mark.parametrize(
    ("nodes", "settings", "replicas", "gpus", "cpus"),
    [
        ([FOUR_GPUS, TWO_GPUS, NO_GPU], {}, 6, 1, 1),
        ([FOUR_GPUS, TWO_GPUS, TWO_GPUS], {"tensor_parallel_size": 4}, 1, 4, 1),  # an engine is on one machine
        ([FOUR_GPUS], {"replicas": 3}, 3, 1, 1),
        ([NO_GPU, NO_GPU], {}, 2, 0, 8),
        ([NO_GPU, NO_GPU], {"replicas": 5}, 5, 0, 2),  # three of them share a machine
    ],
)
def test_a_pool_fills_the_cluster(nodes, settings, replicas, gpus, cpus):
    pool = pool_of(nodes, RuntimeSettings(**settings))
    assert (pool.replicas, pool.gpus, pool.cpus) == (replicas, gpus, cpus)


@pytest.mark.parametrize(
    ("nodes", "settings", "have"),
    [
        ([FOUR_GPUS], {"replicas": 5}, "5 replicas with 1 GPUs each, but the cluster has 4 GPUs on 1 machines"),
        ([TWO_GPUS], {"tensor_parallel_size": 4}, "1 replicas with 4 GPUs each, but the cluster has 2 GPUs"),
        ([NO_GPU], {"replicas": 9}, "9 replicas with 1 GPUs each, but the cluster has no GPU and 8 CPU cores"),
        ([], {}, "no GPU and 0 CPU cores"),
    ],
)
def test_a_pool_larger_than_the_cluster_is_refused(nodes, settings, have):
    with pytest.raises(SettingError, match=f"^runtime.replicas: .*{have}"):
        pool_of(nodes, RuntimeSettings(**settings))


def sizes(pool: Pool, num_requests: int) -> list[int]:
    """The shards that so many requests are cut into."""
    cut = []
    while num_requests:
        cut.append(min(pool.shard_size(num_requests), num_requests))
        num_requests -= cut[-1]
    return cut


def test_shards_become_smaller_towards_the_end():
    one, two = (Pool(replicas, 1, 1, concurrent_requests=10, deadline_seconds=60) for replicas in (1, 2))
    assert sizes(one, 400) == [160, 160, 80]  # 16 times those decoded at a time, then all that is left
    assert sizes(two, 400) == [100, 75, 57, 42, 32, 24, 18, 13, 10, 10, 10, 9]  # a quarter of what is left


def test_errors_of_a_worker_process_arrive_whole():
    error = ModelError("llm.model", "cannot be loaded", "give another")
    assert copy.copy(error).args == error.args and copy.copy(error).hint == "give another"


def test_a_machine_with_another_model_under_that_name_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    replica = ReplicaOfVllm(str(tmp_path), None, tmp_path, "directory sha256:of-the-keys", {"on_gpu": False})
    with pytest.raises(ModelError, match=r"^llm.model: .* is another model on .*; copy the same files to all machines"):
        replica()


def test_without_ray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match=r"^ray: not usable here .*; install the extra esim-ray"):
        RayCluster(None)


@pytest.mark.parametrize(
    "address", ["nonsense", "ray://head:10001", "http://head:6379", "head:", ":6379", "127.0.0.1:x"]
)
def test_an_address_of_another_form_is_refused(address, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", pytest)  # any module: it is not reached
    with pytest.raises(SettingError, match=r"^runtime.ray_address: .* is no address of a cluster; write HOST:PORT"):
        RayCluster(address)
