from tests.fuzz.__main__ import one


def test_hostile_and_damaged_bundles(tmp_path):
    ends = [one("bundle", 0, number, tmp_path) for number in range(80)]
    assert set(ends) == {"ok", "refused"}
