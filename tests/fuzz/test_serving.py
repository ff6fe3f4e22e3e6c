import random

from tests.fuzz.serving import run_one


def test_hostile_calls_checkpoints_and_recipes(tmp_path):
    said = {run_one(random.Random(seed), tmp_path) for seed in range(120)}
    assert "ok" in said and len(said) > 40  # taken, and refused for many reasons
    assert not any("\n" in answer for answer in said)
