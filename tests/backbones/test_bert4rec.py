"""BERT4Rec: what is hidden in training, what a hidden place may know, and that training agrees with ranking."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from eimf.backbones.bert4rec import BERT4Rec

ITEMS, LENGTH = 40, 9


def model(mask: float = 0.4, last: float = 0.0) -> BERT4Rec:
    """Weights large enough that every part matters; no dropout, for training mode draws only what is hidden."""
    torch.manual_seed(1)
    made = BERT4Rec(items=ITEMS, width=8, max_length=LENGTH, dropout=0.0, mask=mask, last=last)
    with torch.no_grad():
        made.position.mul_(20)
        made.item_table.weight.mul_(20)
    return made


def windows(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Items, what follows each, and lengths, as a training batch has them."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, LENGTH + 1, (rows, 1), generator=generator)
    sequence = torch.randint(1, ITEMS + 1, (rows, LENGTH + 1), generator=generator)
    inside = torch.arange(LENGTH) < lengths
    return sequence[:, :-1] * inside, sequence[:, 1:] * inside, lengths[:, 0]


@pytest.mark.parametrize("mask", [0.0, 0.2, 0.6])
def test_a_share_of_the_places_is_hidden_and_never_none(mask):
    items, next_items, lengths = windows(20_000)
    chosen = model(mask).forward_train(items[:4000], next_items[:4000]).chosen
    assert chosen.any(dim=1).all() and not chosen[next_items[:4000] == 0].any()
    # Of n places each is hidden with probability p, and one more where none was, with probability (1 - p)^n.
    hidden = model(mask)._draw(next_items).sum(1).float()
    for n in range(1, LENGTH + 1):
        counts = hidden[lengths == n]
        error = 4 * (mask * (1 - mask) * n / len(counts)) ** 0.5
        assert abs(float(counts.mean()) - (n * mask + (1 - mask) ** n)) <= error


def test_a_share_of_the_sequences_hides_its_last_item_only():
    _, next_items, lengths = windows(20_000)
    long = lengths >= 8  # there, .6^8 / 8 or less of the others hide the last only
    end = torch.arange(LENGTH) == lengths.unsqueeze(1) - 1
    share = float((model(0.6, last=0.3)._draw(next_items) == end).all(dim=1)[long].float().mean())
    chance = 0.3 + 0.7 * (0.4**7 * 0.6 + 0.4**8 / 8)
    assert share == pytest.approx(chance, abs=4 * (0.3 * 0.7 / int(long.sum())) ** 0.5)


def test_a_hidden_place_knows_both_sides_but_not_itself():
    items, next_items, lengths = windows(30)
    bert = model()

    def rows(*, row: int, place: int, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The pass over the same sequences, with another item at one place."""
        changed = next_items.clone()
        changed[row, place] = item
        torch.manual_seed(8)
        made = bert.forward_train(torch.cat([items[:, :1], changed[:, :-1] * (items[:, 1:] > 0)], dim=1), changed)
        return made.interests[row, :, 0], made.chosen[row]

    row = int(lengths.argmax())
    before, chosen = rows(row=row, place=0, item=int(next_items[row, 0]))
    assert 1 < int(chosen.sum()) < LENGTH
    for place in range(LENGTH):
        after, same = rows(row=row, place=place, item=int(next_items[row, place]) % ITEMS + 1)
        assert torch.equal(chosen, same)
        if chosen[place]:
            assert torch.equal(after, before)  # nobody sees it
        else:
            assert bool((after != before).any(dim=1)[chosen].all())  # everybody sees it


def test_a_hidden_last_item_is_predicted_as_in_ranking():
    # Row t of the pass predicts item t + 1 from items 0..t and a mask at t + 1: what `interests` does with t + 1 items.
    items, next_items, lengths = windows(60)
    bert = model(mask=0.0, last=0.99)
    made = bert.forward_train(items, next_items)
    end = torch.arange(LENGTH) == lengths.unsqueeze(1) - 1
    at_end = (made.chosen == end).all(dim=1)
    assert int(at_end.sum()) > 50
    ranked = bert.eval().interests(items, lengths)
    torch.testing.assert_close(made.interests[end][at_end], ranked[at_end], rtol=1e-4, atol=1e-5)


def test_attention_over_what_is_seen_equals_a_loop():
    bert = model()
    block = bert.blocks[0]
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    seen = torch.tensor([[True] * 5, [True, True, True, False, False]])
    wanted = torch.zeros(2, 5, 8)
    for row in range(2):
        query, key, value = (part.view(5, 2, 4) for part in block.to_qkv(x)[row].split(8, dim=1))
        for t in range(5):
            for head in range(2):
                weight = torch.softmax(key[seen[row], head] @ query[t, head] / np.sqrt(4), dim=0)
                wanted[row, t, head * 4 : head * 4 + 4] = weight @ value[seen[row], head]
    made = block._attention(x, seen[:, None, None])
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)
    parts = block.to_qkv(x).view(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
    torchs = F.scaled_dot_product_attention(*parts, seen[:, None, None])  # what a GPU computes
    torch.testing.assert_close(torchs.transpose(1, 2).flatten(2), wanted, rtol=1e-4, atol=1e-5)
