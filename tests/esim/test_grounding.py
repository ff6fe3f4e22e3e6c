import numpy as np
import pytest

from eimf.esim.grounding import another_user, cosines, evidence_vectors


def test_grounding_is_the_cosine_with_the_mean_of_the_evidence():
    items = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    means = evidence_vectors(items, [[1, 2], [3], []])
    np.testing.assert_array_equal(means[:2], [[1 / 2, 1 / 2], [-1, 0]])
    origin = np.zeros(2, np.float32)
    cosine = cosines(np.array([[0, 1], [1, 0], [1, 0]], np.float32), means, origin)
    assert cosine[:2] == pytest.approx([1 / np.sqrt(2), -1])
    assert np.isnan(cosine[2])  # without evidence
    # Seen from [0, 1], the first pair points to [0, 0] and to [1/2, -1/2].
    assert cosines(np.array([[0, 1]], np.float32), means[:1], np.array([0, 1], np.float32)) == pytest.approx([0])


def test_no_interest_at_all():
    assert evidence_vectors(np.ones((2, 3), np.float32), []).shape == (0, 3)
    assert len(another_user(np.array([], np.int64), 0)) == 0


def test_the_shuffled_pairing_takes_another_users_interest_and_every_one_alike():
    user_idx = np.array([5, 5, 2, 7, 5, 2])
    drawn = np.stack([another_user(user_idx, seed) for seed in range(300)])
    assert (user_idx[drawn] != user_idx).all()
    counts = np.bincount(drawn[:, 0], minlength=6)  # of three others
    assert counts[[2, 3, 5]] == pytest.approx(100, abs=35) and counts.sum() == counts[[2, 3, 5]].sum()
    assert (another_user(user_idx, 3) == another_user(user_idx, 3)).all()


def test_a_single_user_is_paired_with_itself():
    assert another_user(np.array([4, 4]), 0).tolist() == [0, 1]
