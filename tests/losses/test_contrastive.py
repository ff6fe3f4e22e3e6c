import torch

from eimf.losses.contrastive import info_nce


def test_false_negatives_are_left_out():
    # METHOD, fault 8. Orthogonal unit vectors, temperature 1: cosines are 1 for the positive and 0 elsewhere, so an
    # anchor with n negatives has loss log(e + n) - 1.
    texts, group = torch.eye(4), torch.tensor([0, 0, 1, 2])
    positive = torch.tensor([0, 2])
    weight = torch.tensor([0.5, 0.5])
    false_negative_mask = group[positive].unsqueeze(1) == group
    loss, _ = info_nce(texts[positive], texts, positive, false_negative_mask, 1.0, weight)
    e = torch.e
    wanted = 0.5 * (torch.tensor(e + 2).log() - 1) + 0.5 * (torch.tensor(e + 3).log() - 1)
    torch.testing.assert_close(loss, wanted)


def test_the_distance_is_that_to_the_positive():
    a, b = torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    none = torch.zeros(2, 2, dtype=torch.bool)
    _, distance = info_nce(a, b, torch.tensor([0, 1]), none, 1.0, torch.tensor([3 / 4, 1 / 4]))
    assert distance == 1 / 4  # distances 0 and 1
