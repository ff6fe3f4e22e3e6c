import random

from tests.fuzz.llm import run_one


def test_hostile_replies_templates_and_titles(tmp_path):
    said = {run_one(random.Random(seed), tmp_path) for seed in range(120)}
    assert "ok" in said and len(said) > 10  # taken, and refused for many reasons
