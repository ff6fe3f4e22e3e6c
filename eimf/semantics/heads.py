"""The two auxiliary tasks of EIMF: modality alignment and semantic prediction (METHOD, stage two).

arXiv 2411.09410; METHOD says what is ours where the abstract leaves it open. Used in training only: serving needs only
the backbone. Our decisions: one learned projection from S serves items and interests, so equal texts have equal vectors
(fault 1); the text tables are buffers that no initialisation touches (fault 2); the candidates of a contrastive term
are the *distinct* texts or items of its positions, and texts of one cluster are not negatives of each other (fault 8).
Tensors keep the shape of the positions, with masks and weights instead of selections: kernels are compiled per shape.

Shapes: P target positions looked at, M interests of a cluster, C clusters, D width, S text width, N items.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from eimf.losses.base import Sample
from eimf.losses.contrastive import info_nce
from eimf.losses.logit_blocks import MatmulOptions
from eimf.losses.sampled import sampled_cross_entropy
from eimf.losses.softmax import weighted_logsumexp

CONTRASTIVE_TEMPERATURE = 0.1
"""tau of the contrastive terms, as in the published code."""
CONTRASTIVE_BATCH = 128
"""Items contrasted with each other: the published code's batch, so that the loss does not depend on ours."""
AUX_POSITIONS = 128
"""Target positions of a step that the two tasks look at, drawn again in each step: all of them in expectation, at a
fraction of the cost. As many as the published code's batch."""


class EimfHeads(nn.Module):
    """Semantic supervision of a backbone's interests."""

    item_text_vectors: Tensor
    interest_vectors: Tensor
    interest_mask: Tensor

    def __init__(
        self,
        *,
        item_text_vectors: Tensor,
        interest_vectors: Tensor,
        interest_mask: Tensor,
        width: int,
        temperature: float = CONTRASTIVE_TEMPERATURE,
        contrastive_batch: int = CONTRASTIVE_BATCH,
        users: bool = True,
        semantic: bool = True,
    ) -> None:
        """`item_text_vectors` [N, S] are x_i of items 1..N; `interest_vectors` [C, M, S] is Z of every cluster,
        `interest_mask` [C, M] which interests exist; `contrastive_batch` is the number of items contrasted with each
        other. Without `users` only items are aligned; without `semantic` there is no semantic prediction."""
        super().__init__()
        self.register_buffer("item_text_vectors", item_text_vectors, persistent=False)
        self.register_buffer("interest_vectors", interest_vectors, persistent=False)
        self.register_buffer("interest_mask", interest_mask, persistent=False)
        self.temperature, self.contrastive_batch = temperature, contrastive_batch
        self.users, self.semantic = users, semantic
        self.project, self.to_behaviour = nn.Linear(item_text_vectors.shape[1], width), nn.Linear(width, width)
        if users or semantic:
            self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(
        self,
        readout: Tensor,
        vectors_of: Callable[[Tensor], Tensor],
        target_row: Tensor,
        cluster: Tensor,
        sample: Sample | None,
        matmul: MatmulOptions,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """The losses, each a mean over positions: `align_items` and `align_users`, the two halves of L_align, and
        `semantic`, L_sem.

        `readout` [P, D] is r, `vectors_of` gives the vectors of rows of the item table, `target_row` [P] are such rows,
        `cluster` [P] is the user's cluster, or -1 if the position has no semantic supervision: its cluster has no
        interests, or the LLM has read its target. If there is a `sample`, it stands for all items; `generator` (of the
        CPU) groups the items that are contrasted.
        """
        first_item, not_negatives = self._item_candidates(target_row, generator)
        even, vectors = (
            torch.full((len(target_row),), 1 / len(target_row), device=target_row.device),
            vectors_of(target_row),
        )
        if not (self.users or self.semantic):
            target_text = self.project(self.item_text_vectors[target_row])
            return {"align_items": self._align(vectors, target_text, first_item, not_negatives, even)}
        known = cluster >= 0
        target_text, interest, slot = self._read_interests(target_row, cluster, known)  # [P, D], [P, D], [P]
        losses = {}
        if self.semantic:
            weight = known / len(known)
            losses["semantic"] = self._predict(interest, slot, target_text, target_row, weight, sample, matmul)
        if not self.users:
            return {"align_items": self._align(vectors, target_text, first_item, not_negatives, even), **losses}
        same_cluster = (cluster.unsqueeze(1) == cluster) | (cluster < 0)
        # Both contrasts at once: items with their texts, readouts with the interests read.
        both = self._align(
            torch.stack([vectors, readout]),
            torch.stack([target_text, interest]),
            torch.stack([first_item, _first_equal(slot)]),
            torch.stack([not_negatives, same_cluster]),
            torch.stack([even, known / len(known)]),
        )
        return {"align_items": both[0], "align_users": both[1], **losses}

    def _align(self, anchors: Tensor, texts: Tensor, first: Tensor, not_negatives: Tensor, weight: Tensor) -> Tensor:
        """.4 NCE + .1 (1 - cosine) of anchors [..., P, D] with texts [..., P, D]: [...]. Of equal texts only the one at
        position `first` [..., P] is a candidate."""
        repeated = first != torch.arange(first.shape[-1], device=first.device)
        contrast, distance = info_nce(
            anchors, self.to_behaviour(texts), first, not_negatives | repeated.unsqueeze(-2), self.temperature, weight
        )
        return 0.4 * contrast + 0.1 * distance

    def _item_candidates(self, target_row: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Items are contrasted in random groups: the first position with the same item and group [P], and which
        positions are not negatives of each other [P, P]."""
        group = torch.randperm(len(target_row), generator=generator).to(target_row.device) // self.contrastive_batch
        same_item, other_group = target_row.unsqueeze(1) == target_row, group.unsqueeze(1) != group
        return _first_equal(target_row * len(target_row) + group), same_item | other_group

    def _read_interests(self, target_row: Tensor, cluster: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The target's projected text [P, D], the interest nearest to it (hard readout) [P, D], and which of the C * M
        interests that is [P]. Positions that are not `known` [P] read something that has no weight."""
        row = cluster.clamp(min=0)
        mask = self.interest_mask[row] | ~known.unsqueeze(1)
        texts = torch.cat([self.item_text_vectors[target_row].unsqueeze(1), self.interest_vectors[row]], dim=1)
        target_text, projected = self.project(texts).split([1, mask.shape[1]], dim=1)  # [P, 1, D], [P, M, D]
        branch = self._text_branch(projected, mask)  # [P, M, D]
        with torch.no_grad():
            match = (branch * target_text).sum(dim=2)
            best = match.masked_fill(~mask, -torch.inf).argmax(dim=1)  # [P]
        slot = torch.where(known, row * branch.shape[1] + best, -1)
        return target_text.squeeze(1), branch[torch.arange(len(best), device=best.device), best], slot

    def _text_branch(self, projected: Tensor, mask: Tensor) -> Tensor:
        """Masked self-attention over the interests of each position, with a residual: [P, M, D] to [P, M, D]."""
        query, key, value = self.to_qkv(projected).chunk(3, dim=-1)  # [P, M, D] each
        scores = query @ key.mT / math.sqrt(query.shape[-1])  # [P, M, M]
        attention = scores.masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(dim=-1)
        return projected + self.to_out(attention @ value)

    def _predict(
        self,
        interest: Tensor,
        slot: Tensor,
        target_text: Tensor,
        target_row: Tensor,
        weight: Tensor,
        sample: Sample | None,
        matmul: MatmulOptions,
    ) -> Tensor:
        """Cross entropy of <interest, x_j> over all items j at the target, whose projected text is `target_text`. Over
        all items, each distinct interest is scored once."""
        if sample is not None:
            negatives = self.project(self.item_text_vectors[sample.rows])
            return sampled_cross_entropy(interest, target_text, negatives, target_row, sample, weight)
        distinct, row = _first_equal(slot).unique(return_inverse=True)
        shared = torch.zeros(len(distinct), device=weight.device).index_add_(0, row, weight)
        normalizer = weighted_logsumexp(interest[distinct], self.project(self.item_text_vectors), shared, matmul)
        return normalizer - (weight * (interest * target_text).sum(dim=1)).sum()


def _first_equal(values: Tensor) -> Tensor:
    """The first position with the same value as each [P]."""
    return (values.unsqueeze(1) == values).to(torch.uint8).argmax(dim=1)


def hard_readout(interests: Tensor, vectors_of: Callable[[Tensor], Tensor], target_row: Tensor) -> Tensor:
    """r = V[argmax_k <V_k, e_target>], [P, D], from interests [P, K, D] and `target_row` [P], whose vectors [P, D] are
    looked up (training only)."""
    if interests.shape[1] == 1:
        return interests[:, 0]
    with torch.no_grad():
        best = torch.einsum("pkd,pd->pk", interests, vectors_of(target_row)).argmax(dim=1)
    return interests[torch.arange(len(interests), device=interests.device), best]
