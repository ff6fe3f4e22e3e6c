import os
from pathlib import Path

import pytest

# Spinning OpenMP threads starve a busy neighbour; torch reads this once.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# No test asks the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from tests import world as planted

collect_ignore = [] if torch.cuda.is_available() else ["gpu"]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted world as Parquet files."""
    return planted.world().write(tmp_path_factory.mktemp("data") / "world")


@pytest.fixture
def threads(request):
    """So many threads for torch, by `parametrize(..., indirect=True)`, as long as a test runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
