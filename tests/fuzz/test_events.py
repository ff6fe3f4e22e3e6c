from tests.fuzz.__main__ import one


def test_forged_events_users_and_cases(tmp_path):
    ends = [one("events", 0, number, tmp_path) for number in range(40)]
    assert set(ends) == {"ok", "refused"}
