"""The two auxiliary tasks of EIMF: modality alignment and semantic prediction (METHOD, stage two).

arXiv 2411.09410; what the abstract leaves open follows METHOD. Used in training only: serving needs the backbone
alone.
Our decisions: one learned projection from S serves items and interests, so equal texts have equal vectors (fault
1); the text tables are buffers that no initialisation touches (fault 2); the candidates of a contrastive term
are the *distinct* texts or items of its positions, and texts of one cluster are no negatives of each other (fault 8).
Tensors keep the shape of the positions, with masks and weights in place of selections: kernels are made for each shape.

Shapes: P target positions looked at, M interests of a cluster, C clusters, D width, S text width, N items.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from eimf.losses.contrastive import info_nce
from eimf.losses.sampled import Sample, sampled_cross_entropy
from eimf.losses.softmax import MatmulOptions, weighted_logsumexp


class EimfHeads(nn.Module):
    """Semantic supervision of a backbone's interests."""

    item_text: Tensor
    semantics: Tensor
    present: Tensor

    def __init__(
        self,
        *,
        item_text: Tensor,
        semantics: Tensor,
        present: Tensor,
        width: int,
        temperature: float,
        contrast_items: int,
        users: bool = True,
        semantic: bool = True,
    ) -> None:
        """`item_text` [N, S] are x_i of items 1..N; `semantics` [C, M, S] is Z of every cluster, `present` [C, M]
        where there is an interest; `contrast_items` is how many items are contrasted with each other. Without `users`
        only items are aligned, without `semantic` there is no semantic prediction."""
        super().__init__()
        self.register_buffer("item_text", item_text, persistent=False)
        self.register_buffer("semantics", semantics, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.temperature, self.contrast_items, self.users, self.semantic = temperature, contrast_items, users, semantic
        self.project, self.to_behaviour = nn.Linear(item_text.shape[1], width), nn.Linear(width, width)
        if users or semantic:
            self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(
        self, readout: Tensor, vectors_of: Callable[[Tensor], Tensor], target: Tensor, cluster: Tensor,
        sample: Sample | None, products: MatmulOptions, generator: torch.Generator,
    ) -> dict[str, Tensor]:  # fmt: skip
        """The losses at work, each a mean over positions: `align_items` and `align_users`, the two halves of L_align,
        and `semantic`, L_sem.

        `readout` [P, D] is r, `vectors_of` gives the vectors of items, `target` [P] item_idx, `cluster` [P] the user's
        cluster, or -1 where the position has no semantic supervision: a cluster without interests, or a target that
        the LLM has read. A `sample` stands for the catalogue where there is one; `generator` (of the CPU) groups the
        items that are contrasted.
        """
        items, related = self._item_candidates(target, generator)
        even, vectors = torch.full((len(target),), 1 / len(target), device=target.device), vectors_of(target)
        if not (self.users or self.semantic):
            own = self.project(self.item_text[target - 1])
            return {"align_items": self._align(vectors, own, items, related, even)}
        known = cluster >= 0
        own, read, slot = self._read_texts(target, cluster, known)  # [P, D], [P, D], [P]
        found = {}
        if self.semantic:
            found["semantic"] = self._predict(read, slot, own, target, known / len(known), sample, products)
        if not self.users:
            return {"align_items": self._align(vectors, own, items, related, even), **found}
        same_cluster = (cluster.unsqueeze(1) == cluster) | (cluster < 0)
        # Both contrasts at once: items with their texts, readouts with the texts read.
        both = self._align(
            torch.stack([vectors, readout]), torch.stack([own, read]), torch.stack([items, _first_alike(slot)]),
            torch.stack([related, same_cluster]), torch.stack([even, known / len(known)]),
        )  # fmt: skip
        return {"align_items": both[0], "align_users": both[1], **found}

    def _align(self, anchors: Tensor, texts: Tensor, first: Tensor, related: Tensor, weight: Tensor) -> Tensor:
        """.4 NCE + .1 (1 - cosine) of anchors [..., P, D] with texts [..., P, D]: [...]. Of equal texts only the
        `first` [..., P] is a candidate."""
        repeated = first != torch.arange(first.shape[-1], device=first.device)
        contrast, distance = info_nce(
            anchors, self.to_behaviour(texts), first, related | repeated.unsqueeze(-2), self.temperature, weight
        )
        return 0.4 * contrast + 0.1 * distance

    def _item_candidates(self, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Items are contrasted in random groups: the first position of the same item and group as each [P], and which
        positions are no candidates of each other [P, P]."""
        group = torch.randperm(len(target), generator=generator).to(target.device) // self.contrast_items
        same_item, other_group = target.unsqueeze(1) == target, group.unsqueeze(1) != group
        return _first_alike(target * len(target) + group), same_item | other_group

    def _read_texts(self, target: Tensor, cluster: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The target's projected text [P, D], the interest nearest to it (hard readout) [P, D], and which of the C * M
        interests that is [P]. Positions without semantics read something of no weight."""
        row = cluster.clamp(min=0)
        present = self.present[row] | ~known.unsqueeze(1)
        texts = torch.cat([self.item_text[target - 1].unsqueeze(1), self.semantics[row]], dim=1)  # [P, 1 + M, S]
        own, projected = self.project(texts).split([1, present.shape[1]], dim=1)  # [P, 1, D], [P, M, D]
        branch = self._text_branch(projected, present)  # [P, M, D]
        with torch.no_grad():
            match = (branch * own).sum(dim=2)
            best = match.masked_fill(~present, -torch.inf).argmax(dim=1)  # [P]
        slot = torch.where(known, row * branch.shape[1] + best, -1)
        return own.squeeze(1), branch[torch.arange(len(best), device=best.device), best], slot

    def _text_branch(self, projected: Tensor, present: Tensor) -> Tensor:
        """Masked self-attention over the interests of each position, with a residual: [P, M, D] to [P, M, D]."""
        query, key, value = self.to_qkv(projected).chunk(3, dim=-1)  # [P, M, D] each
        scores = query @ key.mT / math.sqrt(query.shape[-1])  # [P, M, M]
        attention = scores.masked_fill(~present.unsqueeze(1), -torch.inf).softmax(dim=-1)
        return projected + self.to_out(attention @ value)

    def _predict(
        self, read: Tensor, slot: Tensor, own: Tensor, target: Tensor, weight: Tensor, sample: Sample | None,
        products: MatmulOptions,
    ) -> Tensor:  # fmt: skip
        """Cross entropy of <read, x_j> over all items j at the target, whose projected text is `own`. Over the whole
        catalogue, each distinct readout is scored once."""
        if sample is not None:
            drawn = self.project(self.item_text[sample.items - 1])
            return sampled_cross_entropy(read, own, drawn, target, sample, weight)
        first = _first_alike(slot)
        distinct, row = first.unique(return_inverse=True)
        shared = torch.zeros(len(distinct), device=weight.device).index_add_(0, row, weight)
        mass = weighted_logsumexp(read[distinct], self.project(self.item_text), shared, products)
        return mass - (weight * (read * own).sum(dim=1)).sum()


def _first_alike(of: Tensor) -> Tensor:
    """The first position that is of the same thing as each [P]."""
    return (of.unsqueeze(1) == of).to(torch.uint8).argmax(dim=1)


def hard_readout(interests: Tensor, item_vectors: Tensor, target: Tensor) -> Tensor:
    """r = V[argmax_k <V_k, e_target>], [P, D], from interests [P, K, D], item vectors [N, D] and targets [P] (training
    only)."""
    if interests.shape[1] == 1:
        return interests[:, 0]
    with torch.no_grad():
        best = torch.einsum("pkd,pd->pk", interests, item_vectors[target - 1]).argmax(dim=1)
    return interests[torch.arange(len(interests), device=interests.device), best]
