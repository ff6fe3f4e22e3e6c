"""BERT4Rec: what is masked in training, what a masked position may know, and that training agrees with ranking."""

import pytest
import torch

from eimf.backbones import bert4rec
from eimf.backbones.bert4rec import BERT4Rec, draw_mask

ITEMS, LENGTH = 40, 9


def model(mask: float = 0.4) -> BERT4Rec:
    """Weights large enough that every part matters; no dropout, so training draws masks only."""
    torch.manual_seed(1)
    bert = BERT4Rec(num_items=ITEMS, width=8, max_length=LENGTH, dropout=0.0, mask=mask)
    with torch.no_grad():
        bert.position.mul_(20)
        bert.item_table.weight.mul_(20)
    return bert


def windows(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Items, what follows each, and lengths, as a training batch has them."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, LENGTH + 1, (rows, 1), generator=generator)
    sequence = torch.randint(1, ITEMS + 1, (rows, LENGTH + 1), generator=generator)
    inside = torch.arange(LENGTH) < lengths
    return sequence[:, :-1] * inside, sequence[:, 1:] * inside, lengths[:, 0]


@pytest.mark.parametrize("mask", [0.0, 0.2, 0.6])
def test_a_share_of_the_positions_is_masked_and_never_none(mask):
    items, next_items, lengths = windows(20_000)
    loss_mask = model(mask).forward_train(items[:4000], next_items[:4000]).loss_mask
    assert loss_mask.any(dim=1).all() and not loss_mask[next_items[:4000] == 0].any()
    # Each of n positions is masked with probability p, and one more if none was, with probability (1 - p)^n.
    masked = draw_mask(next_items, mask, last_only=0.0).sum(1).float()
    for n in range(1, LENGTH + 1):
        counts = masked[lengths == n]
        error = 4 * (mask * (1 - mask) * n / len(counts)) ** 0.5
        assert abs(float(counts.mean()) - (n * mask + (1 - mask) ** n)) <= error


def test_in_a_share_of_the_sequences_only_the_last_item_is_masked():
    _, next_items, lengths = windows(20_000)
    long = lengths >= 8  # there, only the last is masked in .6^8 / 8 or less of the others
    end = torch.arange(LENGTH) == lengths.unsqueeze(1) - 1
    share = float((draw_mask(next_items, 0.6, last_only=0.3) == end).all(dim=1)[long].float().mean())
    chance = 0.3 + 0.7 * (0.4**7 * 0.6 + 0.4**8 / 8)
    assert share == pytest.approx(chance, abs=4 * (0.3 * 0.7 / int(long.sum())) ** 0.5)


def test_a_masked_position_knows_both_sides_but_not_itself(monkeypatch):
    monkeypatch.setattr(bert4rec, "LAST_ONLY", 0.0)
    items, next_items, lengths = windows(30)
    bert = model()

    def outputs(*, row: int, position: int, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One row's interests and mask for the same sequences, with another item at one position."""
        changed = next_items.clone()
        changed[row, position] = item
        torch.manual_seed(8)
        output = bert.forward_train(torch.cat([items[:, :1], changed[:, :-1] * (items[:, 1:] > 0)], dim=1), changed)
        return output.interests[row, :, 0], output.loss_mask[row]

    row = int(lengths.argmax())
    before, masked = outputs(row=row, position=0, item=int(next_items[row, 0]))
    assert 1 < int(masked.sum()) < LENGTH
    for position in range(LENGTH):
        after, same_mask = outputs(row=row, position=position, item=int(next_items[row, position]) % ITEMS + 1)
        assert torch.equal(masked, same_mask)
        if masked[position]:
            assert torch.equal(after, before)  # no position sees it
        else:
            assert bool((after != before).any(dim=1)[masked].all())  # every position sees it


def test_a_masked_last_item_is_predicted_as_in_ranking(monkeypatch):
    # Output t predicts item t + 1 from items 0..t and a mask at t + 1: what `interests` does with t + 1 items.
    items, next_items, lengths = windows(60)
    monkeypatch.setattr(bert4rec, "LAST_ONLY", 0.99)
    bert = model(mask=0.0)
    output = bert.forward_train(items, next_items)
    end = torch.arange(LENGTH) == lengths.unsqueeze(1) - 1
    at_end = (output.loss_mask == end).all(dim=1)
    assert int(at_end.sum()) > 50
    ranked = bert.eval().interests(items, lengths)
    torch.testing.assert_close(output.interests[end][at_end], ranked[at_end], rtol=1e-4, atol=1e-5)
