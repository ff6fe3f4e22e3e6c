"""What all tests share. With xdist this file is also read by the process that only distributes the tests, so whatever
takes long to import is imported where it is needed."""

import os
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.object_server import ObjectServer

# Spinning OpenMP threads starve a busy neighbour; torch reads this once.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# No test asks the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SLOW_SECONDS = 360


def pytest_configure(config: pytest.Config) -> None:
    """The same examples in every run: a test that fails fails again."""
    if config.getoption("numprocesses", None):
        return  # other processes run the tests
    from hypothesis import settings

    settings.register_profile("same", derandomize=True, deadline=None, database=None)
    settings.load_profile("same")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the tests that need a GPU where there is none."""
    if collection_path != Path(__file__).with_name("gpu"):
        return None
    import torch

    return None if torch.cuda.is_available() else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that at the end no process waits for one of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))
        if item.path.parent.name == "gpu":
            item.add_marker("gpu")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """The tests of a file run in one process, which makes their fixtures once, in the order of above."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted world as Parquet files."""
    from tests import world as planted

    return planted.world().write(tmp_path_factory.mktemp("data") / "world")


@pytest.fixture(scope="session")
def one_registry() -> Iterator[None]:
    """The exporter of torch builds its table of ONNX functions once; it would for every export, half a second each."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="session")
def object_server() -> Iterator["ObjectServer"]:
    """A server with buckets, started once."""
    from tests.object_server import ObjectServer

    server = ObjectServer()
    server.make_bucket("eimf-test")
    yield server
    server.stop()


@pytest.fixture
def bucket(object_server, monkeypatch) -> str:
    """The address of a new store in a bucket, for a user with the right to write."""
    for name, value in {
        "AWS_ENDPOINT_URL": object_server.endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "writer",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return f"s3://eimf-test/{uuid.uuid4().hex}"


@pytest.fixture
def threads(request):
    """So many threads for torch, by `parametrize(..., indirect=True)`, as long as a test runs."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
