"""Which items share a target's probability mass, and how much of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from eimf.backbones.build import build_backbone
from eimf.config import HeadSettings, ModelSettings
from eimf.data.histories import Histories
from eimf.losses.logit_blocks import MatmulOptions
from eimf.losses.soft_labels import SoftLabels
from eimf.losses.softmax import soft_cross_entropy
from eimf.semantics.build import SideInformation, build_side_information
from eimf.semantics.soft_targets import (
    FREQUENCY_DECAY,
    NEIGHBORS,
    TEMPERATURE,
    InterestNeighbors,
    Neighbors,
    neighbors_of,
)
from eimf.semantics.supervision import Supervision, nearest_interests
from tests.meaning import planted_meaning


def unit(*rows: list[float]) -> torch.Tensor:
    return F.normalize(torch.tensor(rows).float(), dim=1)


def test_neighbors_are_the_nearest_texts_but_not_the_item_itself():
    text = unit([1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 1])
    neighbors = neighbors_of(text, text, exclude_self=True, count=2)
    cosines = text @ text.T
    for item in range(5):
        others = sorted((j for j in range(5) if j != item), key=lambda j: -float(cosines[item, j]))[:2]
        assert set(neighbors.rows[item].tolist()) == set(others)
        wanted = torch.softmax(cosines[item, neighbors.rows[item]] / 0.1, dim=0)
        torch.testing.assert_close(neighbors.shares[item], wanted)


def test_only_the_interest_nearest_to_the_target_counts():
    text = unit([1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0.9, 0.1])
    interests = torch.stack([unit([1, 0, 0], [0, 1, 0]), unit([0, 0, 1], [0, 0, 1])])
    supervision = Supervision(
        text,
        interests,
        torch.tensor([[4, 5], [8, -1]]),
        cluster=torch.tensor([0, 1, -1]),
        last_prompted_position=torch.tensor([1, -1, -1]),
    )
    # Three users of five, four and four events, of which two are held out; of user 0 the LLM has read the first two.
    histories = Histories(
        np.array([1, 4, 1, 2, 2, 1, 4, 2, 2, 1, 1, 1, 1]), np.array([0, 5, 9, 13]), np.array([3, 2, 2]), 4
    )
    interest = nearest_interests(supervision, histories)
    assert interest.tolist() == [-1, -1, 0, -1, -1, 2, 2, -1, -1, -1, -1, -1, -1]  # 2: the first of cluster 1
    neighbors = neighbors_of(interests.flatten(0, 1), text, count=2)
    targets = InterestNeighbors(interest, neighbors, torch.linspace(1, 0.4, len(interest)))
    labels = targets(torch.tensor([2, 0, 5]))
    assert labels.shares.sum(dim=1).tolist() == pytest.approx([1 - 2 * 0.6 / 12, 0, 1 - 5 * 0.6 / 12])
    assert set(labels.rows[0].tolist()) == {0, 1}
    unread = replace(supervision, last_prompted_position=torch.full((3,), -1))
    assert nearest_interests(unread, histories)[:2].tolist() == [0, 1]


def side_information(supervision: Supervision, histories: Histories, **smoothing: float) -> SideInformation:
    backbone = build_backbone(ModelSettings(width=8), histories.num_items, 7)
    return build_side_information(
        backbone, supervision, histories, HeadSettings(preset="plain", smoothing=smoothing), 7
    )


def test_the_mass_of_a_user_goes_to_the_items_nearest_to_its_mean_text():
    supervision, histories = planted_meaning()
    side = side_information(supervision, histories, user=0.2)
    assert side.item_neighbors is None and side.interest_neighbors is None and side.settings.source == "item_vectors"
    user = torch.tensor([3, 8])
    labels = side.soft_labels(torch.zeros(2, dtype=torch.int64), user, torch.zeros(2, dtype=torch.int64))
    for row, number in enumerate(user.tolist()):
        first = histories.offsets[number]
        training = histories.item_idx[first : first + histories.num_train[number]]
        mean = F.normalize(supervision.item_text_vectors[training - 1].mean(dim=0), dim=0)
        wanted = (supervision.item_text_vectors @ mean).topk(20)
        assert labels.rows[row].tolist() == wanted.indices.tolist()
        mass = 0.2 / (1 + FREQUENCY_DECAY * len(training))
        torch.testing.assert_close(labels.shares[row], mass * (wanted.values / 0.1).softmax(dim=0))


def test_the_mass_of_cooccurrence_goes_to_items_of_the_same_users_and_needs_no_text():
    # Training events of four users; the last two of each are held out, and item 6 is nowhere else.
    users = [[1, 2, 3, 5, 6], [2, 1, 5, 6], [1, 3, 3, 6, 6], [4, 6, 6]]
    histories = Histories(
        np.concatenate(users), np.cumsum([0, *map(len, users)]), np.array([len(user) - 2 for user in users]), 6
    )
    settings = HeadSettings(preset="plain", smoothing={"cooccurrence": 0.3})
    backbone = build_backbone(ModelSettings(width=8), 6, 7)
    side = build_side_information(backbone, None, histories, settings, 7).to(torch.device("cpu"))
    rows = torch.arange(6)
    labels = side.soft_labels(rows, rows, rows)
    had = [set(user[:-2]) for user in users]
    for row in range(6):
        n = {item: sum(item in one for one in had) for item in range(1, 7)}
        both = {item: sum({item, row + 1} <= one for one in had) for item in range(1, 7) if item != row + 1}
        similar = {item: count / np.sqrt((n[item] + 5) * (n[row + 1] + 5)) for item, count in both.items() if count}
        parts = {item: np.exp(value / TEMPERATURE) for item, value in similar.items()}
        itself = NEIGHBORS - len(parts)  # exp(0) for each neighbor that it lacks
        events = sum(user[:-2].count(row + 1) for user in users)
        mass = torch.zeros(6).index_add_(0, labels.rows[row], labels.shares[row])
        wanted = [parts.get(item, itself if item == row + 1 else 0) for item in range(1, 7)]
        scale = 0.3 / (1 + events / 20) / (itself + sum(parts.values()))
        torch.testing.assert_close(mass, torch.tensor([scale * value for value in wanted]).float())
    assert (labels.rows[0] == 1).any() and (labels.rows[5] == 5).all()


def test_the_mass_decays_with_the_training_events_of_the_item_or_user():
    supervision, histories = planted_meaning()
    side = side_information(supervision, histories, item=0.3, user=0.2, interest=0.1)
    user, event = histories.first_events(np.arange(histories.num_users), histories.num_train)
    item = histories.item_idx[event]
    n_item = np.array([(item == other).sum() for other in range(1, histories.num_items + 1)])[item - 1]
    labels = side.soft_labels(*(torch.from_numpy(part) for part in (item - 1, user, event)))
    # 20 neighbors of each kind, in this order.
    masses = labels.shares.unflatten(1, (3, 20)).sum(dim=2)
    has_interest = nearest_interests(supervision, histories)[event] >= 0
    assert 0 < has_interest.sum() < len(event)  # the LLM has read some of the targets
    wanted = torch.stack(
        [
            torch.from_numpy(0.3 / (1 + n_item / 20)),
            torch.from_numpy(0.2 / (1 + histories.num_train[user] / 20)),
            torch.from_numpy(0.1 / (1 + n_item / 20)) * has_interest,
        ],
        dim=1,
    )
    torch.testing.assert_close(masses, wanted.float())


@given(st.lists(st.tuples(*[st.floats(0, 0.33)] * 3), min_size=1, max_size=1), st.integers(2, 9), st.integers(0, 2**31))
def test_soft_labels_are_never_more_than_the_mass_given_away(masses, num_items, seed):
    (item, user, interest) = masses[0]
    generator = torch.Generator().manual_seed(seed)
    text = F.normalize(torch.randn(num_items, 4, generator=generator), dim=1)
    weight = torch.rand(num_items, generator=generator)
    nearest = torch.randint(-1, num_items, (num_items,), generator=generator)
    side = SideInformation(
        Supervision(text, text[:, None], torch.arange(num_items)[:, None], *[torch.arange(num_items)] * 2),
        HeadSettings(preset="plain", smoothing={"item": item, "user": user, "interest": interest}),
        item_neighbors=neighbors_of(text, text, weight, exclude_self=True) if item else None,
        user_neighbors=neighbors_of(text, text, weight) if user else None,
        interest_neighbors=InterestNeighbors(nearest, neighbors_of(text, text), weight) if interest else None,
    )
    rows = torch.arange(num_items)
    labels = side.soft_labels(rows, rows, rows)
    if labels is None:
        assert not (item or user or interest)
        return
    assert (labels.shares >= 0).all() and (labels.shares.sum(dim=1) <= item + user + interest + 1e-6).all()
    assert (labels.rows >= 0).all() and (labels.rows < num_items).all()
    # Every text gives away exactly its weight, whatever its neighbors.
    if item:
        torch.testing.assert_close(side.item_neighbors(rows).shares.sum(dim=1), weight)


def test_a_smaller_temperature_gives_more_to_the_nearest():
    items, cosines = torch.tensor([[4, 2]]), torch.tensor([[0.9, 0.8]])
    shares = [Neighbors(items, cosines, temperature=value).shares[0, 0] for value in (0.05, 0.1)]
    assert [float(share) for share in shares] == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-1))])


@given(st.integers(1, 5), st.integers(1, 4), st.floats(0, 0.9), st.floats(0.01, 3), st.integers(0, 99))
def test_a_soft_label_is_a_distribution_in_which_the_target_keeps_its_share(rows, count, share, temperature, seed):
    generator = torch.Generator().manual_seed(seed)
    num_items, width = 6, 3
    weight_of_text = torch.rand(num_items, generator=generator).double()  # at most 1
    cosines = torch.rand(num_items, count, generator=generator).double()
    nearest = torch.randint(0, num_items, (num_items, count), generator=generator)
    neighbors = Neighbors(nearest, cosines, weight_of_text, temperature=temperature)
    target_row = torch.randint(0, num_items, (rows,), generator=generator)
    labels = neighbors(target_row)
    soft = SoftLabels(labels.rows, share * labels.shares)
    torch.testing.assert_close(soft.shares.sum(dim=1), share * weight_of_text[target_row])
    dense = torch.zeros(rows, num_items, dtype=torch.float64).scatter_add_(1, soft.rows, soft.shares)
    dense[torch.arange(rows), target_row] += 1 - soft.shares.sum(dim=1)
    torch.testing.assert_close(dense.sum(dim=1), torch.ones(rows, dtype=torch.float64))
    assert (dense >= 0).all() and (dense[torch.arange(rows), target_row] >= 1 - share - 1e-12).all()
    # The loss is the cross entropy with that distribution.
    hidden, table = (torch.randn(count, width, generator=generator).double() for count in (rows, num_items))
    weight = torch.rand(rows, generator=generator).double()
    wanted = -(weight * (dense * (hidden @ table.T).log_softmax(dim=1)).sum(dim=1)).sum()
    loss, _ = soft_cross_entropy(hidden, table, target_row, weight, soft, MatmulOptions(2))
    torch.testing.assert_close(loss, wanted)
