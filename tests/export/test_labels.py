"""Labels in a planted world: items of six groups, whose texts and whose vectors both tell the group, each in a space of
its own. A good phrase has the text of a group and names items of it; a noise phrase has neither."""

import numpy as np
import pytest

from eimf.export.agreement import NEVER, agreeing, agreement, isotonic, most_different, threshold
from eimf.export.labels import build_labels, is_grounded
from eimf.export.phrases import Phrases, merge, readable
from eimf.serving.labels import Labels
from eimf.vectors import unit

GROUPS, EACH, WIDTH, TEXT = 12, 20, 16, 48
GROUP = np.repeat(np.arange(GROUPS), EACH)


def around(centers: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    return unit(centers + noise * rng.normal(size=centers.shape) / np.sqrt(centers.shape[1])).astype(np.float32)


class Planted:
    """`texts` and `items` of all items, and three phrases a group with evidence; `noise` more phrases without sense."""

    def __init__(self, noise: int = 0, shuffled: bool = False, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.text_centers, self.item_centers = np.eye(TEXT)[:GROUPS], np.eye(WIDTH)[:GROUPS]
        self.texts = around(self.text_centers[GROUP], 0.5, rng)
        self.items = 3 * around(self.item_centers[GROUP], 0.5, rng)
        of_phrase = np.repeat(np.arange(GROUPS), 3)
        names = [
            f"kind {'abcdefghijkl'[group] * 3} {way}" for group in range(GROUPS) for way in ("plain", "old", "new")
        ]
        named = np.random.default_rng(1).permutation(of_phrase) if shuffled else of_phrase
        evidence = [(rng.choice(EACH, 4, replace=False) + group * EACH + 1).tolist() for group in named]
        vectors = around(self.text_centers[of_phrase], 0.6, rng)
        if noise:
            names += [f"noise {'mnopqrstuvwxyz'[number % 14] * (2 + number // 14)}" for number in range(noise)]
            evidence += [rng.choice(len(GROUP), 4, replace=False).tolist() for _ in range(noise)]
            evidence = [[max(item, 1) for item in items] for items in evidence]
            vectors = np.concatenate([vectors, around(np.zeros((noise, TEXT)), 1.0, rng)])
        self.phrases = Phrases(np.arange(len(names)), names, evidence, vectors)


def group_of(name: str) -> int:
    return "abcdefghijkl".index(name.split()[1][0]) if name.startswith("kind") else -1


def test_labels_are_those_of_the_items_and_the_interests():
    world = Planted()
    users = np.random.default_rng(2).integers(0, GROUPS, (60, 2))
    built = build_labels(world.phrases, world.texts, world.items, 5 * world.item_centers[users])
    groups = np.array([group_of(name) for name in built.names])
    labelled = built.item_labels >= 0
    assert labelled.mean() > 0.9
    assert (groups[built.item_labels[labelled]] == GROUP[labelled]).all()
    assert all((GROUP[np.array(items) - 1] == group).all() for items, group in zip(built.examples, groups, strict=True))
    labels = Labels(built.names, built.vectors, built.item_labels, threshold=built.thresholds["interest"])
    of_interests = labels.of_interests(2 * world.item_centers)
    named = np.flatnonzero(of_interests >= 0)
    assert len(named) > GROUPS / 2 and (groups[of_interests[named]] == named).all()


def test_noise_is_no_label_and_names_nothing():
    world = Planted(noise=24)
    built = build_labels(world.phrases, world.texts, world.items)
    groups = np.array([group_of(name) for name in built.names])
    labelled = built.item_labels >= 0
    assert labelled.mean() > 0.85
    assert (groups[built.item_labels[labelled]] == GROUP[labelled]).mean() > 0.98
    assert (groups < 0).sum() <= 3 < 24  # a phrase of noise may hit its evidence by chance
    assert len(set(groups) - {-1}) == GROUPS


def test_interests_of_other_users_leave_no_label():
    world = Planted(shuffled=True)
    grounded = is_grounded(world.phrases, world.texts)
    assert grounded.mean() < 0.35
    built = build_labels(world.phrases, world.texts, world.items)
    groups = np.array([group_of(name) for name in built.names])
    labelled = built.item_labels >= 0
    assert not labelled.any() or (groups[built.item_labels[labelled]] == GROUP[labelled]).all()


def test_items_whose_texts_say_nothing_have_no_label():
    """The shuffled control: if texts have nothing to do with vectors, agreement is 1/2, and no label is given."""
    world = Planted()
    order = np.random.default_rng(3).permutation(len(GROUP))
    evidence = [(np.argsort(order)[np.array(items) - 1] + 1).tolist() for items in world.phrases.evidence]
    phrases = Phrases(world.phrases.interest_ids, world.phrases.texts, evidence, world.phrases.vectors)
    built = build_labels(phrases, world.texts[order], world.items)
    assert (built.item_labels == -1).all() and len(built) == 0 and built.thresholds["item"] == NEVER
    assert built.vectors.shape == (0, WIDTH)


def test_a_backbone_with_one_interest_has_no_threshold_for_it():
    world = Planted()
    built = build_labels(world.phrases, world.texts, world.items, world.item_centers[:, None])
    assert built.thresholds["interest"] == NEVER and built.thresholds["item"] < 1


def test_without_phrases_there_is_no_label():
    world = Planted()
    none = world.phrases.take(np.array([], int))
    built = build_labels(none, world.texts, world.items, world.item_centers[None])
    assert len(built) == 0 and (built.item_labels == -1).all()


def test_no_text_vector_leaves_the_export():
    built = build_labels(Planted().phrases, Planted().texts, Planted().items)
    arrays = [value for value in vars(built).values() if isinstance(value, np.ndarray)]
    assert sorted(array.shape for array in arrays) == sorted([(len(GROUP),), (len(built), WIDTH)])
    numbers = [*built.thresholds.values(), *built.figures.values()]
    assert all(isinstance(number, float) for number in numbers)


def test_the_same_labels_whatever_the_blocks(monkeypatch):
    world = Planted(noise=5)
    whole = build_labels(world.phrases, world.texts, world.items)
    monkeypatch.setattr("eimf.export.labels._BLOCK", 28)
    parts = build_labels(world.phrases, world.texts, world.items)
    assert parts.names == whole.names and parts.examples == whole.examples
    assert (parts.item_labels == whole.item_labels).all() and parts.thresholds == pytest.approx(whole.thresholds)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("mice, mice, mice, mice", "mice"),
        ("printers, and printer, laser, 10", "printers, laser"),
        (" gel pens. ", "gel pens"),
        ("1984", "1984"),
        ("AC/DC and R&B", "AC/DC and R&B"),
    ],
)
def test_a_name_is_read_without_stutter(said, name):
    assert readable(said) == name


def phrases_of(texts: list[str], vectors: np.ndarray | None = None) -> Phrases:
    vectors = np.eye(len(texts)) if vectors is None else vectors
    return Phrases(np.arange(len(texts)), texts, [[1]] * len(texts), unit(np.asarray(vectors, float)))


def test_phrases_that_say_the_same_are_one():
    texts = ["Gel pens", "staplers", "pens, gel", "gel pen", "gel pen", "film noir", "noir films"]
    groups = [sorted(rows.tolist()) for rows in merge(phrases_of(texts))]
    assert sorted(groups) == [[0, 2, 3, 4], [1], [5, 6]]
    names = {texts[rows[0]] for rows in merge(phrases_of(texts))}
    assert names == {"gel pen", "staplers", "film noir"}  # what is said most often, then the shorter


def test_near_texts_are_one_unless_their_numbers_differ():
    near = np.array([[1, 0.1, 0], [1, 0, 0.1], [1, 0.05, 0.05], [0, 1, 0]])
    groups = merge(phrases_of(["photo printers", "printers for photos at home", "HP 56 ink", "HP 21 ink"], near))
    assert sorted(sorted(rows.tolist()) for rows in groups) == [[0, 1], [2], [3]]


def test_a_model_in_a_loop_names_nothing():
    assert [rows.tolist() for rows in merge(phrases_of(["jumbo jumbo jumbo pads", "--- 20", "pads"]))] == [[2]]


def test_agreement_is_the_share_of_labels_that_are_farther():
    cosine = np.array([[0.1, 0.5, 0.5, 0.9]])
    assert agreement(cosine, np.array([3])) == [1] and agreement(cosine, np.array([0])) == [0]
    assert agreement(cosine, np.array([1])) == [(1 + 1 / 2) / 3]  # one farther, one tie
    assert agreement(cosine, np.array([[0, 3]])).tolist() == [[0, 1]]
    assert agreement(cosine[:, :1], np.array([0])) == [1 / 2]
    assert agreeing(cosine, 0.9).tolist() == [[False, False, False, True]]
    assert agreeing(cosine, 1 / 3).tolist() == [[False, True, True, True]]
    assert not agreeing(cosine[:, :1], 0.5).any()


def test_isotonic_pools_what_decreases():
    assert isotonic(np.array([1.0, 3, 2, 4]), np.ones(4)).tolist() == [1, 5 / 2, 5 / 2, 4]
    assert isotonic(np.array([3.0, 0]), np.array([1.0, 2])).tolist() == [1, 1]


def test_the_threshold_is_where_the_expectation_reaches_the_level():
    rng = np.random.default_rng(0)
    cosine = rng.uniform(0, 1, 4000)
    agreements = (rng.uniform(0, 1, 4000) < cosine).astype(float)  # in expectation the cosine itself
    assert threshold(cosine, agreements, 0.8) == pytest.approx(0.8, abs=0.05)
    assert threshold(cosine, np.full(4000, 0.5), 0.8) == NEVER
    assert threshold(cosine[:0], agreements[:0], 0.8) == NEVER


def test_what_is_as_good_as_chance_is_not_grounded():
    rng = np.random.default_rng(0)
    chance = rng.normal(0, 1, 10_000)
    assert most_different(rng.normal(0, 1, 200), chance) == np.inf
    # Normal densities of equal width cross in the middle between their means.
    assert most_different(rng.normal(3, 1, 2000), chance) == pytest.approx(3 / 2, abs=0.15)


def test_labels_are_those_of_the_backbone_and_interests_bring_what_is_calibrated():
    """Further coordinates move no label. But an interest is judged by the items that it brings with them: here those of
    the next group, which is never the one of its name."""
    world = Planted()
    users = np.random.default_rng(2).integers(0, GROUPS, (60, 2))
    interests = 5 * world.item_centers[users]
    plain = build_labels(world.phrases, world.texts, world.items, interests)
    further = 100 * np.eye(GROUPS)[GROUP]
    query = np.eye(GROUPS)[(users + 1) % GROUPS]
    items = np.concatenate([world.items, further, 3 * further[:, :1]], axis=1).astype(np.float32)
    asked = np.concatenate([interests, query, np.ones((60, 2, 1))], axis=2)
    calibrated = build_labels(world.phrases, world.texts, items, asked, base_width=WIDTH)
    np.testing.assert_array_equal(calibrated.vectors, plain.vectors)
    np.testing.assert_array_equal(calibrated.item_labels, plain.item_labels)
    assert calibrated.figures == plain.figures and calibrated.thresholds["item"] == plain.thresholds["item"]
    assert plain.thresholds["interest"] < 1 and calibrated.thresholds["interest"] == NEVER
