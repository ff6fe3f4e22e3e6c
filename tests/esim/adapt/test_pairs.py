"""Pairs, negatives and batches against loops, and the contrast against its formula."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch

from eimf.data.cooccurrence import count_cooccurrence
from eimf.data.histories import Histories
from eimf.esim.adapt.batches import batches, num_batches
from eimf.esim.adapt.contrast import contrast
from eimf.esim.adapt.pairs import Links, TrainingPairs, shuffled, training_pairs
from tests.world import leave_one_out

ITEMS = 12


def random_histories(seed: int) -> Histories:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 9, 40))])
    return leave_one_out(rng.integers(1, ITEMS + 1, offsets[-1]).astype(np.int32), offsets, ITEMS)


def training(histories: Histories) -> list[list[int]]:
    """Rows of each user's training events."""
    begins = zip(histories.offsets, histories.num_train, strict=False)
    return [[int(item) - 1 for item in histories.item_idx[begin : begin + count]] for begin, count in begins]


def found(histories: Histories, texts: list[str], **options: float) -> TrainingPairs:
    defaults = {"reach": 3, "held_out": 0.0, "seed": 0}
    return training_pairs(histories, count_cooccurrence(histories), texts, **{**defaults, **options})


def as_dict(links: Links) -> dict[tuple[int, int], float]:
    first = np.repeat(np.arange(len(links.offsets) - 1), np.diff(links.offsets))
    return dict(zip(zip(first.tolist(), links.row.tolist(), strict=True), links.weight.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_pairs_are_those_of_a_loop(seed):
    histories, texts = random_histories(seed), [f"t{item // 2}" for item in range(ITEMS)]
    rows = training(histories)
    had, both, weight = Counter(), Counter(), Counter()
    for row in rows:
        had.update(set(row))
        both.update(combinations(sorted(set(row)), 2))
        for place, one in enumerate(row):
            for distance in range(1, 4):
                if place + distance < len(row) and one != row[place + distance]:
                    weight[tuple(sorted((one, row[place + distance])))] += 1 / distance
    related = {pair for pair, count in both.items() if count * len(rows) > had[pair[0]] * had[pair[1]]}
    pairs = found(histories, texts)
    assert as_dict(pairs.related).keys() == related | {pair[::-1] for pair in related}
    expected = {pair: weight[pair] for pair in related if weight[pair] and texts[pair[0]] != texts[pair[1]]}
    expected |= {pair[::-1]: value for pair, value in expected.items()}
    assert as_dict(pairs.pairs) == pytest.approx(expected)
    batch = np.array([1, 2, 3, 7, 11])
    for i, one in enumerate(batch):
        for j, other in enumerate(batch):
            key = (int(one), int(other))
            assert pairs.pairs.among(batch)[i, j] == pytest.approx(expected.get(key, 0))
            is_negative = texts[one] != texts[other] and tuple(sorted(key)) not in related
            assert pairs.comparable(batch)[i, j] == is_negative


def test_held_out_pairs_are_not_learned_and_never_negatives():
    texts = [str(item) for item in range(ITEMS)]
    histories = random_histories(0)
    everything, part = found(histories, texts), found(histories, texts, held_out=0.25, seed=3)
    left_out = {tuple(pair) for pair in part.held_out.tolist()}
    both_ways = left_out | {pair[::-1] for pair in left_out}
    assert len(left_out) == round(len(everything.pairs.row) / 2 / 4)
    assert as_dict(part.pairs) == {key: w for key, w in as_dict(everything.pairs).items() if key not in both_ways}
    comparable = part.comparable(np.arange(ITEMS))
    assert not any(comparable[one, other] for one, other in both_ways)
    assert (found(histories, texts, held_out=0.25, seed=4).held_out != part.held_out).any()


def test_only_training_events_count():
    texts = [str(item) for item in range(ITEMS)]
    histories = random_histories(1)
    cut = histories.training()
    assert as_dict(found(histories, texts).pairs) == as_dict(found(cut, texts).pairs)


def test_partners_are_drawn_by_their_weights():
    links = Links(np.array([0, 2, 3, 3, 4]), np.array([1, 3, 0, 0]), np.array([1.0, 3.0, 0.1, 2.0], np.float32))
    drawn = links.draw(np.tile([0, 1, 3], 4000), np.random.default_rng(0)).reshape(-1, 3)
    assert (drawn[:, 1:] == 0).all()
    share = (drawn[:, 0] == 3).mean()
    assert set(drawn[:, 0]) == {1, 3} and abs(share - 3 / 4) < 4 * math.sqrt(3 / 16 / 4000)


def test_every_item_with_a_pair_is_an_anchor_once_and_a_resumed_epoch_has_the_same_batches():
    pairs = found(random_histories(2), [str(item) for item in range(ITEMS)])
    epoch = list(batches(pairs, 8, seed=5, epoch=1))
    assert len(epoch) == num_batches(pairs, 8)
    assert set(np.concatenate(epoch)) >= set(pairs.anchors)
    for rows in epoch:
        assert len(set(rows)) == len(rows) <= 8 and pairs.pairs.among(rows).any(axis=1).all()
    for rows, resumed in zip(epoch[2:], batches(pairs, 8, seed=5, epoch=1, skip=2), strict=True):
        assert (rows == resumed).all()
    for seed, number in ((5, 2), (6, 1)):
        others = batches(pairs, 8, seed=seed, epoch=number)
        assert [rows.tolist() for rows in others] != [rows.tolist() for rows in epoch]


def test_the_contrast_is_its_formula():
    rng = np.random.default_rng(0)
    vectors = torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((6, 4))), dim=1)
    weights, negatives = np.zeros((6, 6)), rng.random((6, 6)) < 0.5
    weights[0, 1] = weights[1, 0] = 2.0
    weights[0, 2] = weights[2, 0] = 0.5
    negatives[weights > 0] = negatives[np.arange(6), np.arange(6)] = False
    score = (vectors @ vectors.T / 0.3).numpy()
    losses = []
    for i in range(3):
        bottom = sum(math.exp(score[i, n]) for n in range(6) if negatives[i, n])
        terms = [weights[i, j] * -math.log(math.exp(score[i, j]) / (math.exp(score[i, j]) + bottom)) for j in range(6)]
        losses.append(sum(terms) / weights[i].sum())
    value = contrast(vectors, torch.from_numpy(weights), torch.from_numpy(negatives), 0.3)
    assert value.item() == pytest.approx(sum(losses) / 3)


def test_without_pairs_or_negatives_the_contrast_and_its_gradient_are_zero():
    vectors = torch.nn.functional.normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    for weights in (torch.zeros(3, 3), 1 - torch.eye(3)):
        points = vectors.clone().requires_grad_()
        value = contrast(points, weights, nothing, 0.05)
        value.backward()
        assert value.item() == 0 and (points.grad == 0).all()


def test_a_shuffle_gives_the_same_texts_to_other_items():
    texts = [str(item) for item in range(50)]
    mixed = shuffled(texts, 1)
    assert sorted(mixed) == sorted(texts) and mixed == shuffled(texts, 1) != shuffled(texts, 2)
    assert sum(a == b for a, b in zip(mixed, texts, strict=True)) < 5
