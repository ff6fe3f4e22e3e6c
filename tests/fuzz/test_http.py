import random

import pytest

from tests.fuzz.http import run_one


@pytest.mark.slow
def test_hostile_requests(tmp_path):
    said = {run_one(random.Random(seed), tmp_path) for seed in range(60)}
    assert "ok" in said and len(said) > 15  # taken, and refused for many reasons
