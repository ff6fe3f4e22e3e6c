from tests.fuzz.__main__ import one


def test_damaged_archives(tmp_path):
    ends = [one("archives", 0, number, tmp_path) for number in range(80)]
    assert set(ends) == {"ok", "refused"} and ends.count("refused") > 40  # most damage is noticed
