from tests.fuzz.__main__ import one


def test_damaged_and_forged_stores(tmp_path):
    ends = [one("store", 0, number, tmp_path) for number in range(40)]
    assert set(ends) <= {"ok", "refused"} and "refused" in ends
