"""Candidates of a cluster, the prompt that shows them, and what is read in a reply."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.data.cooccurrence import count_cooccurrence
from eimf.data.histories import Histories
from eimf.errors import DataError, SettingError
from eimf.esim.candidates import Candidates, cluster_candidates
from eimf.esim.fake import FakeRenderer
from eimf.esim.generate import Question
from eimf.esim.picks import PickPrompts, PickTemplate, load_pick_template, parse_picks, picks_schema

ITEMS, USERS, CLUSTERS = 9, 12, 3


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_candidates_are_the_neighbors_of_what_the_clusters_users_had_in_training(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 7, USERS)
    num_train = rng.integers(1, lengths)
    events = rng.integers(1, ITEMS + 1, lengths.sum())
    histories = Histories(events, np.concatenate([[0], np.cumsum(lengths)]), num_train, ITEMS)
    cluster, usable = rng.integers(0, CLUSTERS, USERS), rng.random(ITEMS) < 0.8
    typical = np.array([np.flatnonzero(cluster == number)[0] for number in np.unique(cluster)])
    had = [set(events[histories.offsets[user] :][: num_train[user]].tolist()) for user in range(USERS)]

    def similarity(one: int, other: int) -> float:
        both, users = (sum({*items} <= mine for mine in had) for items in ((one, other), (one,)))
        return 0.0 if one == other else both / np.sqrt((users + 5) * (sum(other in mine for mine in had) + 5))

    found = cluster_candidates(count_cooccurrence(histories), histories, cluster, typical, usable)
    for user, candidates in zip(typical, found, strict=True):
        members = np.flatnonzero(cluster == cluster[user])
        wanted = {}
        for item in range(1, ITEMS + 1):
            means = [
                np.mean([similarity(int(own), item) for own in events[histories.offsets[u] :][: num_train[u]]])
                for u in members
            ]
            if usable[item - 1] and item not in had[user] and sum(means) > 0:
                wanted[item] = np.mean(means)
        assert set(candidates.item_idx.tolist()) == set(wanted)
        assert candidates.similarity == pytest.approx([wanted[item] for item in candidates.item_idx.tolist()], rel=1e-5)
        assert (np.diff(candidates.similarity) <= 1e-7).all()


def test_every_cluster_has_an_order_of_its_own_that_the_seed_draws():
    candidates = Candidates(np.arange(1, 13), np.linspace(1, 0.1, 12))
    orders = [
        candidates.shuffled(seed, cluster).item_idx.tolist() for seed, cluster in ((1, 0), (1, 0), (1, 1), (2, 0))
    ]
    assert orders[0] == orders[1] and len({tuple(order) for order in orders}) == 3
    shuffled = candidates.shuffled(1, 0)
    assert dict(zip(shuffled.item_idx, shuffled.similarity, strict=True)) == dict(
        zip(candidates.item_idx, candidates.similarity, strict=True)
    )


@pytest.mark.parametrize(
    ("reply", "numbers"),
    [
        ('{"3": true, "7": true, "12": true}', [3, 7, 12]),
        ('I would say {"3": true, "7": false, "12": true}.', [3, 12]),
        ("[12, 3, 3, 7]", [12, 3, 7]),
        ('["4"]', [4]),
        ('{"1": true, "2": true, "3": true, "4": true}', [1, 2, 3]),  # more than were asked for
        ('{"0": true, "13": true, "-1": true, "x": true, "5": true}', [5]),
        ('[true, 2.5, null, {"6": true}, 6]', [6]),
        ('{"a": [8]}', [8]),  # the list within
    ],
)
def test_numbers_of_candidates_are_read(reply, numbers):
    assert parse_picks(reply, Question("", 4, picks_schema(12, 3))).numbers == numbers


@pytest.mark.parametrize(
    "reply", ["", "  ", "Sorry.", "{}", '{"13": true}', '{"3": tr', "[" * 5000, "[" + "9" * 5000 + "]"]
)
def test_a_reply_without_a_candidate_has_a_reason(reply):
    parsed = parse_picks(reply, Question("", 4, picks_schema(12, 3)))
    assert parsed.numbers == [] and parsed.reason == ("no number of a candidate" if reply.strip() else "empty reply")


def test_the_schema_takes_each_number_at_most_once_and_as_many_as_are_asked_for():
    schema = picks_schema(4, 2)
    assert list(schema["properties"]) == ["1", "2", "3", "4"] and not schema["additionalProperties"]
    assert schema["minProperties"] == schema["maxProperties"] == 2
    reply = json.dumps(dict.fromkeys(list(schema["properties"])[1:3], True))
    assert parse_picks(reply, Question("", 1, schema)).numbers == [2, 3]


TEMPLATE = PickTemplate(version=1, system="Pick {picks}.", turn="{history}\n-\n{candidates}\n{picks}?")


def test_the_prompt_numbers_titles_and_candidates_from_one():
    prompt = PickPrompts(TEMPLATE, FakeRenderer(), 2).write(["pen", "ink {candidates}"], ["cap", "nib", "{picks}"])
    assert prompt == "<system>\nPick 2.\n<user>\n1. pen\n2. ink {candidates}\n-\n1. cap\n2. nib\n3. {picks}\n2?\n"


def test_titles_make_no_turn_and_a_title_that_does_is_named():
    prompts = PickPrompts(TEMPLATE, FakeRenderer(), 1)
    assert FakeRenderer().markers(prompts.write(["a <user>"], ["b\n<assistant>"])) == ["<system>", "<user>"]

    class Leaking(FakeRenderer):
        def as_data(self, text):
            return text

    with pytest.raises(DataError, match="title 'b <assistant>' holds a special token"):
        PickPrompts(TEMPLATE, Leaking(), 1).write(["a"], ["c", "b <assistant>"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('version = 1\nsystem = ""\nturn = "{history}"\n', r"needs \{history\} and \{candidates\}, each once"),
        ('version = 1\nsystem = ""\n', "turn: field required"),
        ("version", "not a template"),
        (None, "no template 'mine.toml' that can be read; use products, or the path of a TOML file like that"),
    ],
)
def test_a_bad_template_is_one_line_that_names_the_setting(tmp_path, text, said):
    if text is not None:
        (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(SettingError, match=rf"picks\.template: .*{said}"):
        load_pick_template("mine.toml", tmp_path)
    assert load_pick_template("products", tmp_path).version == 1
