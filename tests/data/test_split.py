"""Protocols: their rules by hand, and what all of them promise."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf import schema
from eimf.config import SplitSettings
from eimf.data.eval_cases import EvalCases
from eimf.data.histories import Histories
from eimf.data.split import Split, leave_one_out, split_events
from eimf.errors import DataError, SettingError

PROTOCOLS = ("leave-one-out", "user-split", "temporal", "given")


@st.composite
def raw_events(draw: st.DrawFn) -> dict[str, Any]:
    """Users with 1 to 9 events, of few items, at few times, and the part of each event: all that a split may read."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=3, max_size=12))
    offsets, seed = np.concatenate([[0], np.cumsum(lengths)]), draw(st.integers(0, 999))
    rng, parts = np.random.default_rng(seed), list(pairwise(offsets))
    return {
        "item_idx": rng.integers(1, 7, offsets[-1]).astype(np.int32),
        "offsets": offsets,
        "times": np.concatenate([np.sort(rng.integers(0, 12, end - begin)) for begin, end in parts]).astype(np.float64),
        "given": np.concatenate([np.sort(rng.integers(0, 3, end - begin)) for begin, end in parts]).astype(np.int8),
        "first_row": rng.permutation(len(lengths)) * 10,
    }


@st.composite
def split_settings(draw: st.DrawFn, protocol: str) -> SplitSettings:
    share = st.sampled_from([0.1, 0.25, 0.4])
    return SplitSettings(
        protocol=protocol, seed=draw(st.integers(0, 9)), shuffle=draw(st.booleans()), valid_share=draw(share),
        test_share=draw(share), history_share=draw(st.sampled_from([0.2, 0.5, 0.8])),
        valid_from=draw(st.none() | st.integers(1, 6)), test_from=draw(st.none() | st.integers(7, 11)),
        cold_items=draw(st.sampled_from(["keep", "drop"])), max_cases=draw(st.none() | st.integers(1, 4)),
    )  # fmt: skip


def relevant_of(cases: EvalCases, case: int) -> list[int]:
    return cases.item_idx[cases.offsets[case] : cases.offsets[case + 1]].tolist()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_no_evaluated_event_is_for_training_and_histories_end_before_it(protocol, data):
    raw, chosen = data.draw(raw_events()), data.draw(split_settings(protocol))
    try:
        split = split_events(settings=chosen, **raw)
    except (DataError, SettingError):
        return  # the parts of few users may be empty
    item_idx, offsets = raw["item_idx"], raw["offsets"]
    Histories(item_idx, offsets, split.num_train, 6, cases=split.cases)  # refuses histories that cannot be
    trained = {
        item for begin, count in zip(offsets, split.num_train, strict=False) for item in item_idx[begin:][:count]
    }
    ends: dict[str, dict[int, int]] = {}
    for part, cases in split.cases.items():
        ends[part] = dict(zip(cases.user_idx.tolist(), cases.history_end.tolist(), strict=True))
        assert len(ends[part]) == len(cases) <= (chosen.max_cases or 99)  # at most one case of a user
        for case, (user, end) in enumerate(ends[part].items()):
            later = item_idx[offsets[user] + end : offsets[user + 1]].tolist()
            relevant = relevant_of(cases, case)
            assert end >= 1 and split.num_train[user] <= end
            assert set(relevant) <= set(later) and len(set(relevant)) == len(relevant)
            assert relevant == [item for item in dict.fromkeys(later) if item in relevant]  # in order
            assert chosen.cold_items == "keep" or set(relevant) <= trained
    for user in ends[schema.VALID].keys() & ends[schema.TEST].keys():
        assert protocol != "user-split" and ends[schema.VALID][user] < ends[schema.TEST][user]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_event_is_trained_on_shown_or_predicted(protocol, data):
    """With distinct items, every event of a user with cases has one part, and the parts are in order."""
    raw = data.draw(raw_events()) | {"item_idx": None}
    chosen = data.draw(split_settings(protocol)).model_copy(update={"cold_items": "keep", "max_cases": None})
    raw["item_idx"] = np.arange(1, raw["offsets"][-1] + 1, dtype=np.int32)
    try:
        split = split_events(settings=chosen, **raw)
    except (DataError, SettingError):
        return
    for user, (begin, end) in enumerate(pairwise(raw["offsets"].tolist())):
        parts = [range(1 + begin, 1 + begin + int(split.num_train[user]))]
        for part in (schema.VALID, schema.TEST):
            cases = split.cases[part]
            for case in np.flatnonzero(cases.user_idx == user):
                parts.append(range(1 + begin + cases.history_end[case], 1 + begin + cases.history_end[case]))
                relevant = relevant_of(cases, case)
                parts.append(range(relevant[0], relevant[-1] + 1))
                assert relevant == list(parts[-1])
        flat = [item for part in parts for item in part]
        shown_only = sorted(set(range(1 + begin, 1 + end)) - set(flat))
        assert flat == sorted(set(flat))  # disjoint, in order
        # What is neither trained on nor predicted comes before all that is predicted: the history of a held-out user,
        # or the events of a user without a case.
        assert all(item < flat[0] for item in shown_only) if flat else split.num_train[user] == 0


def split_of(settings: SplitSettings, *users: str, **more: Any) -> Split:
    """The split of users whose items are letters; `times` and `given` are digits, a text for each user."""
    lengths = [len(user) for user in users]
    numbers = {
        name: np.array(list(map(float, "".join(digits)))) for name, digits in more.items() if name != "first_row"
    }
    return split_events(
        np.array([ord(item) - ord("a") + 1 for item in "".join(users)]),
        np.concatenate([[0], np.cumsum(lengths)]),
        settings,
        times=numbers.get("times"),
        given=numbers.get("given"),
        first_row=np.array(more.get("first_row", range(len(users)))),
    )


def letters(split: Split, part: str) -> dict[int, tuple[int, str]]:
    """The history's end and the relevant items of each user with a case."""
    cases = split.cases[part]
    texts = ["".join(chr(ord("a") + item - 1) for item in relevant_of(cases, case)) for case in range(len(cases))]
    return dict(zip(cases.user_idx.tolist(), zip(cases.history_end.tolist(), texts, strict=True), strict=True))


def test_leave_one_out():
    split = split_of(SplitSettings(), "abc", "bacad")
    assert split.num_train.tolist() == [1, 3]
    assert letters(split, "valid") == {0: (1, "b"), 1: (3, "a")}
    assert letters(split, "test") == {0: (2, "c"), 1: (4, "d")}
    assert split.counts == {
        "train_users": 2, "train_events": 4, "valid_cases": 2, "test_cases": 2, "test_cold_targets": 1,
    }  # fmt: skip


def test_leave_one_out_needs_three_events():
    problem = (
        "split.protocol: leave-one-out needs 3 events of each user, but 1 of 2 have fewer; set cleaning.min_events"
    )
    with pytest.raises(DataError, match=problem):
        leave_one_out(np.ones(5, int), np.array([0, 3, 5]))


HALVES = {"valid_share": 0.25, "test_share": 0.25}


def test_user_split_in_file_order_holds_out_the_last_users_validation_before_test():
    settings = SplitSettings(protocol="user-split", shuffle=False, **HALVES)
    # In the file: user 2, user 0, user 3, user 1.
    split = split_of(settings, "abc", "abcde", "cab", "abbacdcdae", first_row=[5, 40, 0, 9])
    assert split.num_train.tolist() == [3, 0, 3, 0]
    assert letters(split, "valid") == {3: (8, "ae")}  # .8 * 10 events
    assert letters(split, "test") == {1: (4, "e")}
    assert split.counts["train_users"] == 2 and split.counts["test_cold_targets"] == 1


@pytest.mark.parametrize(
    ("share", "user", "end", "relevant"),
    [
        (0.8, "abcd", 3, "d"),  # floor(3.2)
        (0.1, "abcd", 1, "bcd"),  # floor(.4) is 0, but a history has an event
        (0.5, "abab", 2, "ab"),  # repeated items are to be predicted too
        (0.2, "abbcb", 1, "bc"),  # once each
        (0.29, "a" * 99 + "b", 29, "ab"),  # .29 * 100 is 28.999999999999996
    ],
)
def test_user_split_rounds_the_history_down(share, user, end, relevant):
    settings = SplitSettings(protocol="user-split", shuffle=False, history_share=share, **HALVES)
    assert letters(split_of(settings, "abc", "abc", "abc", user), "test") == {3: (end, relevant)}


def test_user_split_counts_users_with_one_event_and_is_an_error_without_others():
    settings = SplitSettings(protocol="user-split", shuffle=False, valid_share=0.2, test_share=0.4)
    split = split_of(settings, "abc", "abc", "abc", "a", "ab")
    assert letters(split, "test") == {4: (1, "b")} and split.counts["test_without_target"] == 1
    problem = r"split.test_share: the test of user-split is empty: .* \(0 users without a history before it, 2 without"
    with pytest.raises(SettingError, match=problem):
        split_of(settings, "abc", "abc", "abc", "a", "a")
    with pytest.raises(SettingError, match=r"split.valid_share: the validation of user-split is empty"):
        split_of(SplitSettings(protocol="user-split"), "abc", "abc")


def test_user_split_shuffles_by_its_seed_alone():
    def held_out(seed: int, first_row: list[int]) -> list[int]:
        settings = SplitSettings(protocol="user-split", seed=seed)
        return np.flatnonzero(split_of(settings, *["abc"] * 40, first_row=first_row).num_train == 0).tolist()

    rows = list(range(40))
    assert held_out(1, rows) == held_out(1, rows[::-1]) != held_out(2, rows)
    assert len(held_out(1, rows)) == 8


def test_temporal_predicts_several_items_after_each_cut():
    settings = SplitSettings(protocol="temporal", valid_from=3, test_from="1970-01-01T00:00:06Z")
    users = ("abcdef", "ab", "cd", "ef", "aaba")
    split = split_of(settings, *users, times=["012356", "12", "35", "67", "1334"])
    assert split.num_train.tolist() == [3, 2, 0, 0, 1]
    assert letters(split, "valid") == {0: (3, "de"), 4: (1, "ab")}  # user 2 is new: no history
    assert letters(split, "test") == {0: (5, "f")}  # user 3 is new; user 2 has nothing there
    assert split.counts == {
        "train_users": 3, "train_events": 6, "valid_cases": 2, "valid_without_history": 1, "valid_cold_targets": 2,
        "test_cases": 1, "test_without_history": 1, "test_cold_targets": 1,
    }  # fmt: skip


def test_items_without_training_events_may_be_left_out():
    settings = SplitSettings(protocol="temporal", valid_from=3, test_from=6, cold_items="drop")
    split = split_of(settings, "abdbca", "bd", times=["013378", "17"])
    assert letters(split, "valid") == {0: (2, "b")} and letters(split, "test") == {0: (4, "a")}
    assert split.counts["test_without_target"] == 1 and split.counts["test_cold_targets"] == 2  # c, and the d of user 1


def test_temporal_by_share_puts_all_ties_on_the_later_side():
    settings = SplitSettings(protocol="temporal", **HALVES)
    # Sorted: 1 1 2 2 | 3 3 3 3. The sixth of eight events is at 3, so the test begins there and holds four; of the four
    # before it, a quarter of eight, 2, is the validation: it begins at 2.
    split = split_of(settings, "abcd", "abcd", times=["1233", "1233"])
    assert split.num_train.tolist() == [1, 1]
    assert letters(split, "valid") == {0: (1, "b"), 1: (1, "b")}
    assert letters(split, "test") == {0: (2, "cd"), 1: (2, "cd")}


@pytest.mark.parametrize(
    ("cuts", "num_train", "valid", "test"),
    [
        ({"valid_from": 3, "test_share": 0.25}, 2, "c", "d"),  # the last of four events
        ({"test_from": 4, "valid_share": 0.34}, 2, "c", "d"),  # of the three before, floor(.34 * 4) = 1
        ({"valid_share": 0.49, "test_share": 0.26}, 1, "b", "cd"),  # of four: begins at floor(.74 * 4) = 2; then 1
    ],
)
def test_temporal_takes_what_is_not_given_by_time_from_the_shares(cuts, num_train, valid, test):
    split = split_of(SplitSettings(protocol="temporal", **cuts), "abcd", times=["1234"])
    assert split.num_train.tolist() == [num_train]
    assert letters(split, "valid")[0][1] == valid and letters(split, "test")[0][1] == test


def test_temporal_trains_on_nothing_that_comes_after_a_held_out_event():
    settings = SplitSettings(protocol="temporal", valid_from=5, test_from=8)
    split = split_of(settings, "abcde", "abc", times=["16289", "158"])  # user 0 is not in the order of time
    assert split.num_train.tolist() == [1, 1]
    assert letters(split, "valid")[0] == (1, "bc") and letters(split, "test")[0] == (3, "de")


def test_given_parts_are_predicted_from_all_before_them():
    settings = SplitSettings(protocol="given")
    split = split_of(settings, "abcd", "ab", "abc", "ab", given=["0012", "12", "022", "01"])
    assert split.num_train.tolist() == [2, 0, 1, 1]
    assert letters(split, "valid") == {0: (2, "c"), 3: (1, "b")}
    assert letters(split, "test") == {0: (3, "d"), 1: (1, "b"), 2: (1, "bc")}
    assert split.counts["valid_without_history"] == 1 and "test_without_history" not in split.counts


@pytest.mark.parametrize(
    ("settings", "more", "problem"),
    [
        ({"protocol": "temporal"}, {}, "split.protocol: temporal, but the events have no time; set dataset.columns"),
        ({"protocol": "given"}, {}, "split.protocol: given, but the events do not say what they are for"),
        ({"protocol": "given"}, {"given": ["000", "002"]}, "split.protocol: the validation of given is empty"),
        ({"protocol": "given"}, {"given": ["001", "011"]}, "split.protocol: the test of given is empty"),
        ({"protocol": "given"}, {"given": ["111", "122"]}, "split.protocol: the training of given is empty"),
        (
            {"protocol": "temporal", "valid_from": 5, "test_from": 3},
            {"times": ["123", "456"]},
            "split.valid_from: the v",
        ),
        (
            {"protocol": "temporal", "valid_share": 0.4},
            {"times": ["111", "111"]},
            "split.valid_share: the validation b",
        ),
        (
            {"protocol": "temporal", "valid_from": 4, "test_from": 9},
            {"times": ["123", "456"]},
            "split.test_from: 9.* or later",
        ),
        (
            {"protocol": "temporal", "test_from": 9},
            {"times": ["123", "456"]},
            "split.test_from: 9.* to 1970-01-01T00:00:06",
        ),
        (
            {"protocol": "temporal", "valid_from": "2026-13-01"},
            {"times": ["123", "456"]},
            "split.valid_from: '2026-13-01' is no",
        ),
        (
            {"protocol": "temporal", "valid_from": 0, "test_from": 2},
            {"times": ["123", "456"]},
            "split.valid_from: 0.0 leaves no event before it",
        ),
    ],
)
def test_empty_parts_name_the_setting(settings, more, problem):
    with pytest.raises(SettingError, match=problem):
        split_of(SplitSettings(**settings), "abc", "abc", **more)


def test_the_most_cases_are_drawn_by_the_seed_and_keep_their_items():
    def drawn(seed: int) -> dict[int, tuple[int, str]]:
        return letters(split_of(SplitSettings(max_cases=3, seed=seed), *["abcd"] * 20, "abce"), "test")

    assert drawn(1) == drawn(1) != drawn(2)
    assert all(case == (3, "e" if user == 20 else "d") for user, case in drawn(1).items()) and len(drawn(1)) == 3
    split = split_of(SplitSettings(protocol="given", max_cases=1), "abcde", "abc", given=["01222", "012"])
    assert letters(split, "test").items() <= {0: (2, "cde"), 1: (2, "c")}.items() and split.counts["test_cases"] == 1
