import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

# Before CUDA starts: what a deterministic training sets in its own process.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

from eimf.config import RuntimeSettings
from eimf.data.histories import Histories
from pipeline.backends.device import prepare_torch
from tests import world as planted


@pytest.fixture(autouse=True, scope="session")
def _prepared() -> None:
    prepare_torch(RuntimeSettings(device="cuda", threads=1))


@pytest.fixture(scope="session")
def data() -> Histories:
    """The planted world, with a time for each event."""
    histories = planted.histories()
    hours = np.random.default_rng(0).integers(1, 5000, len(histories.item_idx)).cumsum()
    return replace(histories, timestamps=hours * 3600.0)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """A GPU that repeats itself, as runtime.deterministic asks for it."""
    prepare_torch(RuntimeSettings(device="cuda", deterministic=True))
    yield
    torch.use_deterministic_algorithms(False)
