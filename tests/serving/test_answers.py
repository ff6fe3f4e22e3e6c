"""What callers may ask for: histories, lists of items, diversity, named interests; on a bundle with labels."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.errors import DataError
from eimf.serving.recommend import Recommender
from eimf.serving.result import Recommendations
from tests.pipeline.http.bundles import ITEM_IDS, ITEMS
from tests.serving.bundles import LABELS, labelled

IDS = st.sampled_from([*ITEM_IDS[:20], "unheard of", ""])
HISTORY = st.lists(IDS, max_size=30)
SOME = st.none() | st.lists(IDS, max_size=40)
KNOWN = set(ITEM_IDS)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Recommender:
    return Recommender.load(labelled(tmp_path_factory.mktemp("bundles") / "bundle"))


def ids_of(answer: Recommendations) -> list[str]:
    return [item.item_id for item in answer.items]


def unknown(*lists: Iterable[str] | None) -> tuple[str, ...]:
    """Each id that is not known, once, in the order of the lists."""
    return tuple(dict.fromkeys(item for ids in lists for item in ids or () if item not in KNOWN))


@settings(max_examples=25)
@given(HISTORY, SOME, SOME, st.booleans(), st.sampled_from([0, 0.3, 1]), st.sampled_from([1, 7, ITEMS, 10**9]))
def test_exactly_what_may_be_recommended(model, history, allow, deny, exclude_seen, diversity, count):
    answer = model.recommend_one(history, count, allow=allow, deny=deny, exclude_seen=exclude_seen, diversity=diversity)
    may_be = (
        (KNOWN if allow is None else KNOWN & set(allow)) - set(deny or ()) - (set(history) if exclude_seen else set())
    )
    ids = ids_of(answer)
    assert len(ids) == len(set(ids)) == min(count, len(may_be)) and set(ids) <= may_be
    assert answer.unknown == unknown(history, allow, deny)
    if not diversity:
        scores = [item.score for item in answer.items]
        assert scores == sorted(scores, reverse=True)
        everything = ids_of(model.recommend_one(history, ITEMS, exclude_seen=False))
        assert ids == [item for item in everything if item in may_be][:count]


@settings(max_examples=25)
@given(st.lists(HISTORY, max_size=6), st.sampled_from([None, 0, 0.5]), SOME, SOME)
def test_a_batch_is_its_histories_one_by_one(model, histories, diversity, allow, deny):
    asked = {"allow": allow, "deny": deny, "diversity": diversity or 0}
    together = model.recommend(histories, 5, **asked)
    alone = [model.recommend_one(history, 5, **asked) for history in histories]
    for one, other in zip(together, alone, strict=True):
        assert one.unknown == other.unknown
        assert [item.score for item in one.items] == pytest.approx([item.score for item in other.items], abs=1e-5)
        if not diversity:  # a rounding may decide between two candidates
            assert ids_of(one) == ids_of(other)
            assert [item.reason for item in one.items] == [item.reason for item in other.items]


@settings(max_examples=25)
@given(HISTORY, SOME)
def test_diversity_zero_changes_nothing(model, history, allow):
    plain = model.recommend_one(history, 5, allow=allow)
    for zero in (0, 0.0, -0.0, np.float32(0)):
        assert model.recommend_one(history, 5, allow=allow, diversity=zero) == plain


def test_diversity_takes_turns_between_labels(model):
    plain = model.recommend_one(ITEM_IDS[:3], 9)
    diverse = model.recommend_one(ITEM_IDS[:3], 9, diversity=1.0)
    assert ids_of(diverse)[0] == ids_of(plain)[0]
    numbers = np.array([ITEM_IDS.index(item) + 1 for item in ids_of(diverse)])
    assert model.labels is not None
    assert sorted(np.bincount(model.labels.of_items(numbers) + 1)) == [2, 2, 2, 3]  # of three labels and none


def test_any_iterable_of_ids(model):
    wanted = model.recommend_one(ITEM_IDS[:2], allow=ITEM_IDS[5:9], deny=[ITEM_IDS[6]])
    for allow in (set(ITEM_IDS[5:9]), tuple(ITEM_IDS[5:9]), iter(ITEM_IDS[5:9]), dict.fromkeys(ITEM_IDS[5:9]).keys()):
        assert model.recommend_one(np.array(ITEM_IDS[:2]).tolist(), allow=allow, deny={ITEM_IDS[6]}) == wanted
    assert ids_of(model.recommend_one(ITEM_IDS[:2], allow=[])) == []
    assert model.recommend_one(ITEM_IDS[:2], allow=["nobody"], deny=["nothing"]).unknown == ("nobody", "nothing")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"allow": "i001"}, "allow: 'i001' of type str, which is not a list; give item ids such as ['i001']"),
        ({"deny": 5}, "deny: 5 of type int, which is not a list"),
        ({"deny": [5]}, "deny: has 5 of type int, which is not text"),
        ({"allow": {"i001": 1}}, "allow: {'i001': 1} of type dict, which is not a list"),
        ({"allow": [["i001"]]}, "allow: has ['i001'] of type list, which is not text"),
        ({"diversity": 1.5}, "diversity: 1.5; give a number from 0 (by score alone) to 1"),
        ({"diversity": "much"}, "diversity: 'much'"),
        ({"diversity": float("nan")}, "diversity: nan"),
        ({"diversity": True}, "diversity: True"),
        ({"exclude_seen": "no"}, "exclude_seen: 'no'; give true or false"),
        ({"exclude_seen": np.zeros(2)}, "exclude_seen: array([0., 0.])"),
        ({"count": 0}, "count: 0; ask for 1 item or more"),
        ({"count": 10**5000}, None),
    ],
)
def test_settings_that_are_none(model, asked, message):
    for call in (model.recommend_one, lambda history, **more: model.recommend([history], **more)):
        if message is None:
            call(ITEM_IDS[:2], **asked)
            continue
        with pytest.raises(DataError) as caught:
            call(ITEM_IDS[:2], **asked)
        assert message in str(caught.value) and "\n" not in str(caught.value)
    for history in ("i001", None, {"i001"}, 5, [None], [b"i001"]):
        with pytest.raises(DataError, match="history: "):
            model.recommend_one(history)


def test_without_a_history_it_is_what_is_popular_now(model):
    for history in ([], ["nobody"]):
        answer = model.recommend_one(history, 3)
        assert ids_of(answer) == ITEM_IDS[:3] and answer.unknown == tuple(history)
        assert all(item.reason.interest == -1 and item.reason.because is None for item in answer.items)
    assert ids_of(model.recommend_one([], 3, deny=ITEM_IDS[:1], allow=ITEM_IDS[:3])) == ITEM_IDS[1:3]


def test_reasons_name_an_item_of_the_history(model):
    history = ITEM_IDS[:4]
    for item in model.recommend_one(history, 20).items:
        assert item.reason.because in history and item.reason.interest in (0, 1)
        assert item.reason.label in (None, *LABELS)


def test_threads_may_share_one(model):
    """Forty requests of all kinds by eight threads are answered as by one."""

    def answer(number: int) -> Recommendations:
        history = ITEM_IDS[number : number + number % 5]
        if number % 3 == 0:
            return model.recommend_for([LABELS[number % 2]], history, 9)
        return model.recommend([history, ITEM_IDS[:number]], 9, deny=ITEM_IDS[number : number + 2])[number % 2]

    alone = [answer(number) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(answer, range(40))) == alone


def test_named_interests(model):
    picked = model.recommend_for(["gel pens", "nothing"], [], 5, deny=["x"])
    assert picked.unknown == ("nothing", "x") and len(picked.items) == 5
    assert {item.reason.interest for item in picked.items} == {-1}
    assert "gel pens" in {item.reason.label for item in model.recommend_for(["gel pens"], count=ITEMS).items}
    mixed = model.recommend_for({"gel pens"}, ITEM_IDS[:2], 5)
    assert not set(ids_of(mixed)) & set(ITEM_IDS[:2])
    assert all(item.reason.because in ITEM_IDS[:2] for item in mixed.items)
    assert set(ids_of(model.recommend_for(["gel pens"], ITEM_IDS[:2], ITEMS, exclude_seen=False))) == KNOWN
    for history in ([], ITEM_IDS[:2]):
        assert model.recommend_for([], history, 5) == model.recommend_one(history, 5)
        assert ids_of(model.recommend_for(["nothing"], history, 5)) == ids_of(model.recommend_one(history, 5))
    for names in ("gel pens", None, [1]):
        with pytest.raises(DataError, match="interests: "):
            model.recommend_for(names)
    with pytest.raises(DataError, match="count: "):
        model.menu(0)
