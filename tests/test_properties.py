"""What holds for any input: each promise against a few plain lines that say the same."""

import csv
import json
import math
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eimf import metrics, schema
from eimf.data.histories import Histories, read_histories
from eimf.data.prepare import prepare
from eimf.data.read import read_events
from eimf.esim.kmeans import assign, no_progress
from eimf.evaluation.eval_batches import eval_batches
from eimf.losses.soft_labels import SoftLabels
from eimf.losses.softmax import MatmulOptions, soft_cross_entropy
from eimf.retrieval import Seen, nearest, rank
from eimf.semantics.soft_targets import Neighbours
from eimf.store import keys
from eimf.train.batches import Batches, cut_windows

few = settings(max_examples=40)


@st.composite
def any_histories(draw: st.DrawFn, items: int = 9) -> Histories:
    """Users with 1 to 30 training events, then one to validate and one to test."""
    trained = np.array(draw(st.lists(st.integers(1, 30), min_size=1, max_size=6)))
    offsets = np.concatenate([[0], np.cumsum(trained + 2)])
    flat = np.random.default_rng(draw(st.integers(0, 99))).integers(1, items + 1, offsets[-1])
    return Histories(flat, offsets, trained, items)


@few
@given(any_histories(), st.data())
def test_windows_make_every_training_event_but_the_first_a_target_exactly_once(histories, data):
    max_length = data.draw(st.integers(1, 12))
    context = data.draw(st.integers(0, max_length - 1))
    positions, size = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 3))
    seed = data.draw(st.integers(0, 9))
    targets = []
    for process in range(size):  # they draw the same windows, and share each batch
        rng = np.random.default_rng(seed)
        windows = cut_windows(histories, max_length, context, rng)
        batches = Batches(histories, windows, positions, rng, process, size)
        for batch in batches:
            event, user = batch.event.numpy(), batch.user.numpy()
            assert batch.items.shape[1] <= max_length and batch.counts[process] == len(batch.target)
            inputs = batch.items.flatten()[batch.place]
            assert inputs.tolist() == histories.items[event - 1].tolist()
            assert batch.target.tolist() == histories.items[event].tolist()
            assert (histories.offsets[user] + batch.position.numpy() == event).all()
            targets += event.tolist()
    begins, counts = histories.offsets[:-1], histories.num_train
    wanted = [begin + n for begin, count in zip(begins, counts, strict=True) for n in range(1, count)]
    assert sorted(targets) == wanted
    assert windows.targets == histories.training_targets == len(wanted)
    # Every target sees all before it, or `context` events more than itself gives.
    for first, length, past in zip(windows.first, windows.length, windows.context, strict=True):
        begin = histories.offsets[np.searchsorted(histories.offsets, first, side="right") - 1]
        assert past == min(context, first + past - begin) and length > past


@few
@given(any_histories(), st.integers(1, 8), st.integers(1, 4), st.integers(1, 30), st.data())
def test_queries_ask_for_every_user_once_from_all_that_came_before(histories, max_length, block, positions, data):
    split = data.draw(st.sampled_from([schema.VALID, schema.TEST]))
    asked = []
    for query in eval_batches(histories, split, max_length, block, positions):
        assert len(query.user) <= block and (query.items.numel() <= positions or len(query.user) == 1)
        for row, user in enumerate(query.user.tolist()):
            begin = histories.offsets[user]
            past = histories.items[begin : begin + histories.num_train[user] + (split == schema.TEST)].tolist()
            shown = past[-max_length:]
            assert query.items[row].tolist() == shown + [0] * (query.items.shape[1] - len(shown))
            assert int(query.lengths[row]) == len(shown)
            assert int(query.target[row]) == histories.items[begin + len(past)]
            assert query.seen_items[query.seen_rows == row].tolist() == past
            asked.append(user)
    assert sorted(asked) == list(range(histories.users))


@few
@given(any_histories())
def test_histories_hold_each_users_events_between_their_offsets(histories):
    users = np.repeat(np.arange(histories.users), np.diff(histories.offsets))
    left = histories.offsets[users + 1] - 1 - np.arange(len(users))
    split = np.where(left == 0, schema.TEST, np.where(left == 1, schema.VALID, schema.TRAIN))
    position = np.arange(len(users)) - histories.offsets[users]
    table = {"user_idx": users, "item_idx": histories.items, "position": position, "split": split}
    table["timestamp"] = np.arange(len(users), dtype=float)
    read = read_histories(pa.table(table).select(schema.EVENTS.names).cast(schema.EVENTS))
    assert (
        read.offsets.tolist() == histories.offsets.tolist() and read.num_train.tolist() == histories.num_train.tolist()
    )
    assert read.times.tolist() == list(range(len(users)))
    lists = [read.items[a:b].tolist() for a, b in zip(read.offsets[:-1], read.offsets[1:], strict=True)]
    assert list(chain(*lists)) == histories.items.tolist()
    training = [items[:-2] for items in lists]
    assert read.frequency().tolist() == [sum(row.count(n) for row in training) for n in range(1, read.num_items + 1)]
    owner, event = read.training_events()
    assert read.items[event].tolist() == list(chain(*training))
    assert owner.tolist() == [user for user, row in enumerate(training) for _ in row]
    for split_, end in ((schema.VALID, -2), (schema.TEST, -1)):
        assert read.targets(split_).tolist() == [items[end] for items in lists]
        assert read.repeated(split_).tolist() == [items[end] in items[:end] for items in lists]
        assert read.known(split_).tolist() == [len(items[:end]) for items in lists]


small = st.integers(-3, 3)


@settings(max_examples=100)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 12), st.data())
def test_ranks_are_those_of_a_plain_sort(users, ways, width, items, data):
    def drawn(*shape: int) -> torch.Tensor:
        flat = data.draw(st.lists(small, min_size=math.prod(shape), max_size=math.prod(shape)))
        return torch.tensor(flat, dtype=torch.float32).view(shape)

    interests, table = drawn(users, ways, width), drawn(items, width)  # whole numbers: many ties
    one = st.integers(1, items)
    target = torch.tensor(data.draw(st.lists(one, min_size=users, max_size=users)))
    pairs = data.draw(st.lists(st.tuples(st.integers(0, users - 1), one), max_size=12))
    top = data.draw(st.integers(1, items + 2))
    seen = Seen(*(torch.tensor([pair[n] for pair in pairs], dtype=torch.int64) for n in (0, 1)))
    ranked = rank(interests, table, target, seen, top=top)
    for user in range(users):
        score = {item: max(float(v @ table[item - 1]) for v in interests[user]) for item in range(1, items + 1)}
        open_items = [item for item in score if (user, item) not in pairs]
        own = int(target[user])
        above = sum(score[item] >= score[own] for item in open_items if item != own)  # ties count against it
        assert int(ranked.rank[user]) == (1 + above if own in open_items else schema.NEVER)
        best = [item for item in ranked.best[user].tolist() if item]
        assert len(set(best)) == len(best) == min(top, len(open_items)) and set(best) <= set(open_items)
        assert [score[item] for item in best] == sorted((score[item] for item in open_items), reverse=True)[:top]


@few
@given(st.integers(2, 9), st.integers(1, 3), st.integers(1, 5), st.booleans(), st.integers(0, 99))
def test_the_nearest_rows_are_those_of_a_plain_sort(rows, width, count, own, seed):
    table = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    found, products = nearest(table, table, count, own=own)
    for row in range(rows):
        others = [other for other in range(rows) if not (own and other == row)]
        wanted = sorted(others, key=lambda other: -float(table[row] @ table[other]))[:count]
        assert found[row].tolist() == wanted
        torch.testing.assert_close(products[row], table[wanted] @ table[row])


raw_event = st.tuples(st.sampled_from("uvw"), st.sampled_from("abcdz"), st.integers(0, 9))


@few
@given(st.lists(raw_event, min_size=1, max_size=40), st.integers(3, 5))
def test_a_split_holds_every_event_once_in_the_order_of_time(rows, min_events):
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "order"], orient="row").with_row_index("row")
    frame = frame.with_columns(pl.col("row").cast(pl.Int64), pl.lit(None, pl.Float64).alias("timestamp"))
    items = pl.DataFrame({"item_id": list("abcd"), "title": list("abcd"), "text_0": list("abcd")}).with_row_index("row")
    # By plain lines: no repeat of an event, no unknown item, no short user.
    usable = [row for n, row in enumerate(rows) if row[1] != "z" and row not in rows[:n]]
    by_user = {user: [row for row in usable if row[0] == user] for user in sorted({row[0] for row in usable})}
    by_user = {user: sorted(kept, key=lambda row: row[2]) for user, kept in by_user.items() if len(kept) >= min_events}
    assume(by_user)
    found = prepare(frame, items, bad_rows="reject", min_events=min_events, max_chars=9)
    assert found.events.num_rows + found.rejected.num_rows == len(rows)
    names, users = (found.items["item_id"].to_pylist(), found.users["user_id"].to_pylist())
    assert users == list(by_user)
    events = found.events.to_pylist()
    for number, kept in enumerate(by_user.values()):
        own = [event for event in events if event["user_idx"] == number]
        assert [names[event["item_idx"] - 1] for event in own] == [item for _, item, _ in kept]
        train = [schema.TRAIN] * (len(kept) - 2)
        assert [event["split"] for event in own] == [*train, schema.VALID, schema.TEST]


@few
@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 4), st.integers(0, 999))
def test_every_user_is_assigned_to_the_nearest_centroid(users, clusters, width, seed):
    rng = np.random.default_rng(seed)
    vectors, centroids = (rng.integers(-2, 3, (count, width)).astype(np.float32) for count in (users, clusters))
    numbers, cosines = assign(vectors / 64, centroids, no_progress)  # exact, and shorter than 1
    for vector, number, cosine in zip(vectors, numbers, cosines, strict=True):
        products = [float(vector @ centroid) for centroid in centroids]
        assert products.index(max(products)) == number  # of equal ones the first
        assert cosine == max(products) / 64


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=4)
names = st.text(max_size=3)
configurations = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)


def places(value: Any) -> list[tuple[Any, ...]]:
    """The way to every scalar of a configuration."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return [(key, *rest) for key, inner in entries for rest in places(inner)]
    return [()]


def changed(value: Any, place: tuple[Any, ...], to: Any) -> Any:
    """The configuration with another scalar at a place."""
    if not place:
        return to
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = changed(value[place[0]], place[1:], to)
    return copy


def turned(value: Any) -> Any:
    """The configuration with the entries of every object in the other order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(inner) for inner in value] if isinstance(value, list) else value


@few
@given(st.dictionaries(names, configurations, min_size=1, max_size=4), scalars, st.data())
def test_a_key_changes_with_every_value_and_not_with_the_order(configuration, scalar, data):
    key = keys.stage_key("kind", 1, {"parent": "ab"}, configuration)
    assert keys.stage_key("kind", 1, {"parent": "ab"}, turned(configuration)) == key
    assume(paths := places(configuration))
    other = changed(configuration, data.draw(st.sampled_from(paths)), scalar)
    same = json.dumps(other, sort_keys=True) == json.dumps(configuration, sort_keys=True)
    assert (keys.stage_key("kind", 1, {"parent": "ab"}, other) == key) is same


def write_delimited(delimiter: str) -> Callable[[Path, list[str], list[tuple]], None]:
    def write(path: Path, names: list[str], rows: list[tuple]) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=delimiter).writerows([names, *rows])

    return write


def write_parquet(path: Path, names: list[str], rows: list[tuple]) -> None:
    pl.DataFrame(rows, schema=names, orient="row").write_parquet(path)


WRITERS = {"csv": write_delimited(","), "tsv": write_delimited("\t"), "parquet": write_parquet}
"""By the ending of the file: every kind that can be imported."""
ids = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)


@few
@given(rows=st.lists(st.tuples(ids, ids, st.integers(-(2**62), 2**62)), min_size=1, max_size=6), title=ids)
def test_a_table_of_any_ids_and_times_reads_back_the_same_from_every_kind_of_file(tmp_path_factory, rows, title):
    names = ["user", f"item {title}", "when"]
    for ending, write in WRITERS.items():
        path = tmp_path_factory.mktemp("import") / f"events.{ending}"
        write(path, names, rows)
        frame = read_events(path, *names, None)
        columns = [frame[name].to_list() for name in ("row", "user_id", "item_id", "order")]
        assert list(zip(*columns, strict=True)) == [(number, *row) for number, row in enumerate(rows)], ending


@few
@given(st.integers(1, 5), st.integers(1, 4), st.floats(0, 0.9), st.floats(0.01, 3), st.integers(0, 99))
def test_a_soft_label_is_a_distribution_in_which_the_target_keeps_its_share(rows, near, share, temperature, seed):
    generator = torch.Generator().manual_seed(seed)
    items, width = 6, 3
    texts = torch.rand(items, generator=generator).double()  # the weight of each text, at most 1
    similar = torch.rand(items, near, generator=generator).double()
    neighbours = Neighbours(torch.randint(0, items, (items, near), generator=generator), similar, temperature, texts)
    target = torch.randint(0, items, (rows,), generator=generator)
    soft = neighbours(target)
    label = SoftLabels(soft.items, share * soft.shares)
    torch.testing.assert_close(label.shares.sum(dim=1), share * texts[target])
    dense = torch.zeros(rows, items, dtype=torch.float64).scatter_add_(1, label.items, label.shares)
    dense[torch.arange(rows), target] += 1 - label.shares.sum(dim=1)
    torch.testing.assert_close(dense.sum(dim=1), torch.ones(rows, dtype=torch.float64))
    assert (dense >= 0).all() and (dense[torch.arange(rows), target] >= 1 - share - 1e-12).all()
    # The loss is the cross entropy with that distribution.
    hidden, table = (torch.randn(count, width, generator=generator).double() for count in (rows, items))
    weight = torch.rand(rows, generator=generator).double()
    wanted = -(weight * (dense * (hidden @ table.T).log_softmax(dim=1)).sum(dim=1)).sum()
    torch.testing.assert_close(soft_cross_entropy(hidden, table, target, weight, label, MatmulOptions(2))[0], wanted)


def six_lines(name: str, ranks: list[int], k: int) -> float:
    """A metric of one user, from the ranks of the relevant items."""
    hits = sorted(rank for rank in ranks if rank <= k)
    if name == "recall":
        return len(hits) / len(ranks)
    if name == "ndcg":
        ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(ranks)) + 1))
        return sum(1 / math.log2(rank + 1) for rank in hits) / ideal
    return float(bool(hits)) if name == "hit_rate" else (1 / hits[0] if hits else 0.0)


@few
@given(
    st.lists(st.sets(st.integers(1, 30), min_size=1, max_size=6), min_size=1, max_size=6),
    st.integers(1, 25),
    st.randoms(),
)
def test_metrics_equal_a_loop_over_users_with_several_relevant_items(users, k, random):
    pairs = [(user, rank) for user, ranks in enumerate(users) for rank in ranks]
    random.shuffle(pairs)  # in whatever order they come
    owner, ranks = (torch.tensor(column) for column in zip(*pairs, strict=True))
    for name in metrics.PER_USER:
        found = metrics.per_user(name, ranks, owner, len(users), k)
        wanted = torch.tensor([six_lines(name, list(own), k) for own in users], dtype=torch.float64)
        torch.testing.assert_close(found, wanted)


@few
@given(st.lists(st.integers(0, 20), min_size=1, max_size=12))
def test_gini_is_the_mean_difference_of_any_two_over_twice_the_mean(exposure):
    assume(sum(exposure))
    differences = sum(abs(a - b) for a in exposure for b in exposure)
    wanted = differences / (2 * len(exposure) * sum(exposure))
    assert math.isclose(metrics.gini(torch.tensor(exposure)), wanted, abs_tol=1e-9)
    assert metrics.coverage(torch.tensor(exposure)) == sum(count > 0 for count in exposure) / len(exposure)
