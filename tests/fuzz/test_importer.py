import random

from tests.fuzz.importer import run_one


def test_hostile_raw_files(tmp_path):
    ends = [run_one(random.Random(f"0 importer {number}"), tmp_path) for number in range(60)]
    assert all(len(end.splitlines()) == 1 for end in ends)
    assert 10 < ends.count("ok") < 30  # most cases have something that is refused
