"""The two auxiliary tasks against METHOD, position by position."""

import math

import pytest
import torch
from torch.nn import functional as F

from eimf.losses.logit_blocks import MatmulOptions
from eimf.semantics.heads import EimfHeads, hard_readout

WIDTH, TEXT, ITEMS, CLUSTERS, MOST = 6, 10, 9, 3, 4
WHOLE = MatmulOptions()


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def heads(contrastive_batch: int = ITEMS) -> EimfHeads:
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    interests = random(CLUSTERS, MOST, TEXT) * mask.unsqueeze(-1)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return EimfHeads(
            item_text_vectors=random(ITEMS, TEXT, seed=1),
            interest_vectors=interests,
            interest_mask=mask,
            width=WIDTH,
            contrastive_batch=contrastive_batch,
        )


def batch() -> dict[str, torch.Tensor]:
    target = torch.tensor([1, 5, 5, 9, 2, 7, 1])
    cluster = torch.tensor([0, 0, 1, 1, -1, 0, 1])
    return {
        "readout": random(7, WIDTH, seed=2),
        "item_vectors": random(ITEMS, WIDTH, seed=3),
        "target": target,
        "cluster": cluster,
    }


def losses(model: EimfHeads, matmul: MatmulOptions = WHOLE, **values) -> tuple[torch.Tensor, torch.Tensor]:
    """(L_align, L_sem) of the heads over a plain table of item vectors."""
    table, target_row = values.pop("item_vectors"), values.pop("target") - 1
    parts = model(
        **values,
        target_row=target_row,
        vectors_of=lambda row: F.embedding(row, table),
        sample=None,
        matmul=matmul,
        generator=torch.Generator().manual_seed(1),
    )
    return parts["align_items"] + parts["align_users"], parts["semantic"]


def by_hand(model: EimfHeads, readout, item_vectors, target, cluster) -> tuple[torch.Tensor, torch.Tensor]:
    """METHOD, stage two, position by position."""
    text = model.project(model.item_text_vectors)
    known = [position for position in range(len(target)) if cluster[position] >= 0]
    reads, semantic = {}, torch.zeros(())
    for position in known:
        z = model.project(model.interest_vectors[cluster[position]])[model.interest_mask[cluster[position]]]
        query, key, value = model.to_qkv(z).chunk(3, dim=-1)
        z = z + model.to_out((query @ key.T / WIDTH**0.5).softmax(dim=-1) @ value)
        best = int((z @ text[target[position] - 1]).argmax())
        reads[position] = (int(cluster[position]), best, z[best])
        semantic = semantic - F.log_softmax(text @ z[best], dim=0)[target[position] - 1] / len(target)
    distinct = {(c, m): t for c, m, t in reads.values()}
    align = torch.zeros(())
    for row in target - 1:
        rows, meaning = target.unique() - 1, model.to_behaviour(text)
        similar = F.cosine_similarity(item_vectors[row][None], meaning[rows]) / 0.1
        nce = -F.log_softmax(similar, dim=0)[(rows == row).nonzero()[0, 0]]
        distance = 1 - F.cosine_similarity(item_vectors[row], meaning[row], dim=0)
        align = align + (0.4 * nce + 0.1 * distance) / len(target)
    for position, (its_cluster, _, interest) in reads.items():
        negatives = [t for (c, m), t in distinct.items() if c != its_cluster]
        candidates = model.to_behaviour(torch.stack([interest, *negatives]))
        similar = F.cosine_similarity(readout[position][None], candidates) / 0.1
        distance = 1 - F.cosine_similarity(readout[position], candidates[0], dim=0)
        align = align + (-0.4 * F.log_softmax(similar, dim=0)[0] + 0.1 * distance) / len(target)
    return align, semantic


def test_both_losses_equal_the_method_position_by_position():
    model, values = heads(), batch()
    torch.testing.assert_close(losses(model, **values, matmul=MatmulOptions(2)), by_hand(model, **values))


def test_items_of_equal_texts_are_aligned_and_predicted_alike():
    # METHOD, fault 1: a projection of its own for every text. Items 4 and 7 read alike: where their item vectors are
    # equal too, one in the place of the other is the same loss.
    values, losses_of = batch(), []
    values["item_vectors"][6] = values["item_vectors"][3]
    for item in (4, 7):
        model = heads()
        model.item_text_vectors[6] = model.item_text_vectors[3]
        align, semantic = losses(model, **{**values, "target": torch.tensor([1, 5, 5, 9, 2, item, 1])})
        losses_of.append((align.detach(), semantic.detach()))
    torch.testing.assert_close(losses_of[0], losses_of[1])
    assert sum(parameter.shape == (WIDTH, TEXT) for parameter in heads().parameters()) == 1


def test_the_text_tables_survive_a_parameter_reset_and_are_not_trained():
    # METHOD, fault 2: a reset after loading overwrote the frozen table.
    model = heads()
    before = model.item_text_vectors.clone(), model.interest_vectors.clone()
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    assert torch.equal(model.item_text_vectors, before[0]) and torch.equal(model.interest_vectors, before[1])
    tables = {name for name, _ in model.named_buffers()}
    assert tables == {"item_text_vectors", "interest_vectors", "interest_mask"}
    assert not tables & model.state_dict().keys()


def test_positions_without_interests_train_item_alignment_only():
    values = batch() | {"cluster": torch.full((7,), -1)}
    align, semantic = losses(heads(), **values)
    assert semantic == 0 and align > 0


def test_gradients_reach_every_parameter():
    model, values = heads(), batch()
    values["readout"].requires_grad_()
    values["item_vectors"].requires_grad_()
    align, semantic = losses(model, **values)
    (align + semantic).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert values["readout"].grad[4].abs().sum() == 0  # no cluster
    assert values["item_vectors"].grad[2].abs().sum() == 0  # item 3 is no target


def test_interests_that_are_the_answer_give_little_semantic_loss():
    # Two orthogonal groups of items; Z holds both directions. With an identity projection the readout of a target is
    # its own direction, so the loss tends to that of choosing within a group: log 2 as the scale grows.
    text = torch.eye(2).repeat_interleave(2, dim=0)
    model = EimfHeads(
        item_text_vectors=text,
        interest_vectors=torch.eye(2)[None],
        interest_mask=torch.ones(1, 2, dtype=torch.bool),
        width=2,
        temperature=1,
    )
    with torch.no_grad():
        model.project.weight.copy_(6 * torch.eye(2))
        model.project.bias.zero_()
        model.to_out.weight.zero_()
        model.to_out.bias.zero_()
    target = torch.tensor([1, 2, 3, 4])
    _, semantic = losses(
        model,
        readout=torch.randn(4, 2),
        item_vectors=torch.randn(4, 2),
        target=target,
        cluster=torch.zeros(4, dtype=torch.int64),
    )
    assert float(semantic.detach()) == pytest.approx(math.log(2), abs=1e-5)


def test_hard_readout_is_the_interest_nearest_to_the_target():
    interests = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 2.0]]])
    items = torch.tensor([[0.1, 1.0], [1.0, 0.1]])
    assert hard_readout(interests, items.__getitem__, torch.tensor([1, 0])).tolist() == [[1, 0], [0, 2]]


def test_items_are_contrasted_in_random_groups_of_the_given_size():
    # All vectors alike, so every candidate is as good as another: a group of n has NCE log n, and cosines are 1.
    values = batch() | {"item_vectors": torch.ones(ITEMS, WIDTH), "cluster": torch.full((5,), -1)}
    values["target"] = torch.tensor([1, 5, 9, 2, 7])
    values["readout"] = values["readout"][:5]
    for size, groups in ((5, [5]), (3, [3, 2]), (4, [4, 1])):
        model = heads(size)
        with torch.no_grad():
            model.to_behaviour.weight.zero_()
            model.to_behaviour.bias.fill_(1)
        align, _ = losses(model, **values)
        wanted = 0.4 * sum(count * math.log(count) for count in groups) / 5
        assert float(align.detach()) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_gradients_repeat_themselves_bit_for_bit_on_two_threads(threads):
    # Many positions share items and clusters, and the tensors are large enough for torch to split them.
    generator = torch.Generator().manual_seed(9)
    model = EimfHeads(
        item_text_vectors=random(50, TEXT),
        interest_vectors=random(5, 4, TEXT),
        interest_mask=torch.ones(5, 4, dtype=torch.bool),
        width=64,
        contrastive_batch=16,
    )
    target, cluster = (torch.randint(low, high, (3000,), generator=generator) for low, high in ((1, 51), (0, 5)))
    readout, table = random(3000, 64), random(50, 64)

    def gradients() -> list[torch.Tensor]:
        align, semantic = losses(model, readout=readout, item_vectors=table, target=target, cluster=cluster)
        return list(torch.autograd.grad(align + semantic, list(model.parameters())))

    # Sums in whatever order the threads come differ nearly every time at this size.
    assert all(map(torch.equal, gradients(), gradients()))
