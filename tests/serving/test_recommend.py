"""A recommender ranks as the evaluation does, from item ids or from arrays."""

import math
import textwrap
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from eimf import schema
from eimf.errors import ArtifactError, DataError, SettingError
from eimf.evaluation.rank_users import rank_users
from eimf.serving.recommend import Recommender
from eimf.serving.result import Recommendations
from eimf.store.artifact import Artifact, Store
from pipeline import serving
from pipeline.commands import recommend as recommend_command
from pipeline.commands.recommend import show, write_all
from pipeline.serving import load_recommender
from pipeline.stages.load import histories_of
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted

TIMED = ("dataset.columns.timestamp=order", "model.backbone=hstu", "model.options.hstu.time=true")


@pytest.fixture(scope="module", params=["sasrec", "comirec-sa", "hstu"])
def served(request, tmp_path_factory, world_folder) -> tuple[Recommender, Artifact, Artifact, Store]:
    store = Store(tmp_path_factory.mktemp("store"))
    uses_timestamps = TIMED if request.param == "hstu" else (f"model.backbone={request.param}",)
    recipe = planted.recipe(world_folder, *uses_timestamps, "heads.preset=text", "train.epochs=3")
    dataset = run_esim(recipe, store)["dataset"]
    result = run_train(recipe, store)
    return load_recommender(store, result.checkpoint.key[:12]), dataset, result.metrics, store


def histories(dataset: Artifact) -> dict[int, list[tuple[str, float]]]:
    """Every user's events in order: item id and time."""
    names = dataset.table("items")[schema.ITEM_ID].to_pylist()
    flat = histories_of({"dataset": dataset})
    times = [None] * len(flat.item_idx) if flat.timestamps is None else flat.timestamps.tolist()
    events = [(names[item - 1], time) for item, time in zip(flat.item_idx.tolist(), times, strict=True)]
    return {user: events[begin:end] for user, (begin, end) in enumerate(pairwise(flat.offsets.tolist()))}


def ids_of(answer: Recommendations) -> list[str]:
    return [item.item_id for item in answer.items]


@pytest.mark.parametrize("keep_seen", [False, True])
@pytest.mark.parametrize("split", [schema.VALID, schema.TEST])
def test_the_evaluation_counts_what_is_recommended(served, keep_seen, split):
    """For every user and every k: the target is among the k items recommended if and only if its rank is at most k."""
    model, dataset, _, _ = served
    flat = histories_of({"dataset": dataset})
    ranking = rank_users(
        model.tower.backbone,
        flat,
        split,
        max_length=model.max_length,
        keep_seen=keep_seen,
        batch_size=16,
        cutoffs=(1, 10),
    )
    users = list(histories(dataset).values())
    known = [events[: int(count)] for events, count in zip(users, flat.cases[split].history_end, strict=True)]
    past, times = ([[event[part] for event in events] for events in known] for part in (0, 1))
    shown = model.recommend(past, count=len(model.item_ids), times=times, exclude_seen=not keep_seen)
    repeats = 0
    for events, before, best, rank in zip(users, past, shown, ranking.ranks.tolist(), strict=True):
        target, items = events[len(before)][0], ids_of(best)
        assert set(items) == set(model.item_ids) - (set() if keep_seen else set(before))
        scores = [item.score for item in best.items]
        assert scores == sorted(scores, reverse=True)
        for k in (*range(1, len(model.item_ids) + 1), 10_000):
            assert (target in items[:k]) == (rank <= k)
        repeats += target in before
    assert repeats == int(flat.repeated(flat.cases[split]).sum()) == (13 if split == schema.TEST else 0)
    for k, exposure in ranking.exposure.items():
        served_at_k = Counter(item for best in shown for item in ids_of(best)[:k])
        assert exposure.tolist() == [served_at_k[item] for item in model.item_ids]


def test_the_metrics_of_the_store_are_those_of_its_recommendations(served):
    model, dataset, metrics, _ = served
    users = histories(dataset).values()
    past, times = ([[event[part] for event in events[:-1]] for events in users] for part in (0, 1))
    shown = model.recommend(past, count=10, times=times)
    hits = [events[-1][0] in ids_of(best) for events, best in zip(users, shown, strict=True)]
    rows = metrics.table("metrics").to_pylist()
    (recall,) = (row["value"] for row in rows if (row["metric"], row["k"], row["slice"]) == ("recall", 10, "all"))
    assert Fraction(recall).limit_denominator(10_000) == Fraction(sum(hits), len(hits))


def test_arrays_in_and_arrays_out_are_the_same_as_ids(served):
    model, dataset, _, _ = served
    users = histories(dataset)
    item_idx, lengths = (
        np.array([model.item_ids.index(item) + 1 for events in users.values() for item, _ in events]),
        [],
    )
    past, times = ([[event[part] for event in events] for events in users.values()] for part in (0, 1))
    lengths = np.array([len(events) for events in past])
    seconds = np.concatenate([np.array(each, float) for each in times]) if model.tower.uses_timestamps else None
    for keep_seen in (False, True):
        best, scores = model.rank(item_idx, lengths, times=seconds, count=99, exclude_seen=not keep_seen)
        assert best.shape == scores.shape == (len(users), len(model.item_ids)) and (best > 0).all() == keep_seen
        answers = model.recommend(past, 99, times=times, exclude_seen=not keep_seen)
        for row, row_scores, answer in zip(best, scores, answers, strict=True):
            ranked = [(model.item_ids[index - 1], score) for index, score in zip(row, row_scores, strict=True) if index]
            assert ranked == [(item.item_id, item.score) for item in answer.items]


def test_arrays_that_do_not_fit_are_refused(served):
    model, _, _, _ = served
    items, one = np.array([1, 2, 3]), np.array([3])
    seconds = np.zeros(3) if model.tower.uses_timestamps else None
    best, _ = model.rank(items, one, times=seconds)
    assert best.shape == (1, 10)
    small = None if seconds is None else seconds.astype(np.float32)
    assert np.array_equal(model.rank(items.astype(np.int32), one.astype(np.uint8), times=small)[0], best)
    assert model.rank(items[:0], one[:0], times=seconds if seconds is None else seconds[:0])[0].shape == (0, 10)
    for item_idx, lengths, field in (
        (items - 1, one, "item_idx: 0 to 2; give numbers from 1 to"),
        (items + len(model.item_ids), one, "item_idx"),
        (items, np.array([2]), "lengths"),
        (items, np.array([3, 0]), "lengths"),
        (items, np.array([4, -1]), "lengths"),
        (items, one[:0], "lengths"),
        (items + 0.5, one, "item_idx: of type float64; give whole numbers"),
        (items, one / 1, "lengths: of type float64"),
    ):
        with pytest.raises(DataError, match=field):
            model.rank(item_idx, lengths, times=seconds)
    if model.tower.uses_timestamps:
        for times in (None, np.zeros(2)):
            with pytest.raises(DataError, match="times"):
                model.rank(items, one, times=times)


def test_unknown_items_are_skipped_and_other_users_change_nothing(served):
    model, dataset, _, _ = served
    several = [events[:9] for events in list(histories(dataset).values())[:5]]
    past, times = ([[event[part] for event in events] for events in several] for part in (0, 1))
    together = model.recommend(past, times=times)
    for history, seconds, best in zip(past, times, together, strict=True):
        strange = ["unheard of", *history[:3], "another", *history[3:]]
        alone = model.recommend_one(strange, times=[0.0, *seconds[:3], 1.0, *seconds[3:]])
        assert ids_of(alone) == ids_of(best)
        scores = [item.score for item in best.items]
        assert [item.score for item in alone.items] == pytest.approx(scores, abs=1e-5)
        assert alone.unknown == ("unheard of", "another")
    with_seen = model.recommend(past[:1], count=999, times=times[:1], exclude_seen=False)[0]
    assert len(with_seen.items) == len(model.item_ids)
    assert model.recommend([]) == []


def test_bad_histories_counts_and_times_are_refused(served):
    model, _, _, store = served
    for history, odd in (
        (model.item_ids[0], f"is {model.item_ids[0]!r} of type str, which is not a list"),
        (None, "is None of type NoneType, which is not a list"),
        ({model.item_ids[0]: 1}, "of type dict, which is not a list"),
        ([model.item_ids[0], 12], "has 12 of type int, which is not text"),
    ):
        with pytest.raises(DataError, match=f"histories: number 0 .*{odd}; give lists of ids such as"):
            model.recommend([history], times=[[0.0, 1.0]])
    for count in (0, -1, 1.5, "5", None, True, math.nan):
        with pytest.raises(DataError, match=r"count: .*; ask for 1 item or more"):
            model.recommend([model.item_ids[:2]], count, times=[[0.0, 1.0]])
    with pytest.raises(DataError) as caught:
        model.recommend([["x" * 50_000, 10**9999]], times=[[0.0, 1.0]])
    assert len(str(caught.value)) < 300
    with pytest.raises(ArtifactError, match="eimf status"):
        load_recommender(store, "0000")
    if model.tower.uses_timestamps:
        with pytest.raises(DataError, match="times: none"):
            model.recommend([model.item_ids[:2]])
        with pytest.raises(DataError, match=r"times: number 0 has \[1.0, nan\]; give seconds"):
            model.recommend([model.item_ids[:2]], times=[[1.0, math.nan]])
        for odd in (["a", 1], [1e300, 0], [10**400, 0], [[1], [2]], [1j, 0], [None, 1]):
            with pytest.raises(DataError, match=r"times: number 0 has .*; give seconds"):
                model.recommend([model.item_ids[:2]], times=[odd])
        with pytest.raises(DataError, match="times: not as many"):
            model.recommend([model.item_ids[:2]], times=[[1.0]])


def test_the_example_of_the_docstring(served, capsys):
    model, _, metrics, store = served
    if model.tower.uses_timestamps:
        return
    key = metrics.manifest.parents["checkpoint"]
    code = textwrap.dedent((serving.__doc__ or "").split("Example:\n")[1])
    example = code.replace('"artifacts"', repr(str(store.root))).replace("0123456789ab", key[:12])
    example = example.replace('"B0001"', repr(model.item_ids[0])).replace('"B0002"', repr(model.item_ids[1]))
    exec(example, {})
    printed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    show(store, key, model.item_ids[:2], None, None, 10)
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert shown == printed == ids_of(model.recommend_one(model.item_ids[:2], 10)) and len(shown) == 10


def test_a_user_of_the_dataset_and_every_user(served, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recommend_command, "_BLOCK", 7)
    monkeypatch.setattr("eimf.serving.recommend._BATCH", 5)
    model, dataset, metrics, store = served
    key, file = metrics.manifest.parents["checkpoint"], tmp_path / "all.parquet"
    write_all(store, key, file, 4)
    assert list(tmp_path.iterdir()) == [file]
    written: dict[str, list[str]] = {}
    for row in pq.read_table(file).to_pylist():
        assert row[schema.RANK] == len(written.setdefault(row[schema.USER_ID], [])) + 1
        written[row[schema.USER_ID]].append(row[schema.ITEM_ID])
    names = dataset.table("users")[schema.USER_ID].to_pylist()
    assert list(written) == names
    for user in (0, 8, len(names) - 1):
        items, times = zip(*histories(dataset)[user], strict=True)
        alone = ids_of(model.recommend_one(items, 4, times=times))
        assert written[names[user]] == alone
        capsys.readouterr()
        show(store, key, [], None, names[user], 4)
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == alone
    with pytest.raises(SettingError, match=r"--output: no folder .*/nowhere; make it"):
        write_all(store, key, tmp_path / "nowhere" / "all.parquet", 4)
    for unknown in ("nobody", "u00\udc80", ""):
        with pytest.raises(DataError, match=r"--user: '.*' is no user of the dataset; give an id such as 'u000'"):
            show(store, key, [], None, unknown, 4)
    with pytest.raises(SettingError, match="neither a history nor a user"):
        show(store, key, [], None, None, 4)
    with pytest.raises(SettingError, match="a history and a user"):
        show(store, key, model.item_ids[:1], None, names[0], 4)


def test_weights_of_another_revision_are_not_served(served, monkeypatch):
    model, _, metrics, store = served
    monkeypatch.setattr(type(model.tower.backbone), "revision", 9)
    with pytest.raises(ArtifactError, match=r"revision 1 of \S+ trained it, this is revision 9; train it again"):
        load_recommender(store, metrics.manifest.parents["checkpoint"])
