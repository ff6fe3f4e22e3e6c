"""The two auxiliary tasks of EIMF: modality alignment and semantic prediction (METHOD, stage two).

arXiv 2411.09410; what the abstract leaves open follows METHOD. Used in training only: serving needs the backbone
alone.
Our decisions: one learned projection from S serves items and interests, so equal texts have equal vectors (fault
1); the text tables are buffers that no initialisation touches (fault 2); the candidates of a contrastive term
are the *distinct* texts or items of its positions, and texts of one cluster are no negatives of each other (fault 8).
Tensors keep the shape of the positions, with masks and weights in place of selections: kernels are made for each shape.

Shapes: P target positions looked at, M interests of a cluster, C clusters, D width, S text width, N items.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from eimf.losses.contrastive import info_nce, mean_distance
from eimf.losses.sampled import Sample, sampled_cross_entropy
from eimf.losses.softmax import Products, weighted_logsumexp


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
    ) -> None:
        """`item_text` [N, S] are x_i of items 1..N; `semantics` [C, M, S] is Z of every cluster, `present` [C, M]
        where there is an interest; `contrast_items` is how many items are contrasted with each other."""
        super().__init__()
        self.register_buffer("item_text", item_text, persistent=False)
        self.register_buffer("semantics", semantics, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.temperature, self.contrast_items = temperature, contrast_items
        self.project = nn.Linear(item_text.shape[1], width)
        self.attention = nn.MultiheadAttention(width, num_heads=1, batch_first=True)
        self.to_behaviour = nn.Linear(width, width)

    def forward(
        self, readout: Tensor, vectors_of: Callable[[Tensor], Tensor], target: Tensor, cluster: Tensor,
        sample: Sample | None, products: Products, generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """(L_align, L_sem), each a mean over positions.

        `readout` [P, D] is r, `vectors_of` gives the vectors of items, `target` [P] item_idx, `cluster` [P] the user's
        cluster, or -1 where the position has no semantic supervision: a cluster without interests, or a target that
        the LLM has read. A `sample` stands for the catalogue where there is one; `generator` (of the CPU) groups the
        items that are contrasted.
        """
        own = self.project(self.item_text[target - 1])  # [P, D]
        item_align = self._align_items(vectors_of(target), self.to_behaviour(own), target, generator)
        known = cluster >= 0
        if not bool(known.any()):
            return item_align, item_align.new_zeros(())
        weight = known / len(known)
        read, slot = self._read_texts(own, cluster, known)  # [P, D], [P]
        semantic = self._predict(read, slot, own, target, weight, sample, products)
        user_align = self._align_users(readout, self.to_behaviour(read), slot, cluster, weight)
        return item_align + user_align, semantic

    def _read_texts(self, own: Tensor, cluster: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Hard readout by the target's text [P, D], and which of the C * M interests it is [P]. Positions without
        semantics read something of no weight."""
        row = cluster.clamp(min=0)
        present = self.present[row] | ~known.unsqueeze(1)
        branch = self._text_branch(self.semantics[row], present)  # [P, M, D]
        with torch.no_grad():
            match = torch.einsum("pmd,pd->pm", branch, own)
        best = match.masked_fill(~present, -torch.inf).argmax(dim=1)  # [P]
        slot = torch.where(known, row * branch.shape[1] + best, -1)
        return branch[torch.arange(len(best), device=best.device), best], slot

    def _text_branch(self, semantics: Tensor, present: Tensor) -> Tensor:
        """Projected interests and their masked self-attention, with a residual: [P, M, S] to [P, M, D]."""
        projected = self.project(semantics)
        mixed, _ = self.attention(projected, projected, projected, key_padding_mask=~present, need_weights=False)
        return projected + mixed

    def _predict(
        self, read: Tensor, slot: Tensor, own: Tensor, target: Tensor, weight: Tensor, sample: Sample | None,
        products: Products,
    ) -> Tensor:  # fmt: skip
        """Cross entropy of <read, x_j> over all items j at the target, whose projected text is `own`. Over the whole
        catalogue, each distinct readout is scored once."""
        if sample is not None:
            drawn = self.project(self.item_text[sample.items - 1])
            return sampled_cross_entropy(read, own, drawn, target, sample, weight)
        _, first = _alike(slot)
        distinct, row = first.unique(return_inverse=True)
        shared = torch.zeros(len(distinct), device=weight.device).index_add_(0, row, weight)
        mass = weighted_logsumexp(read[distinct], self.project(self.item_text), shared, products)
        return mass - (weight * (read * own).sum(dim=1)).sum()

    def _align_items(self, behaviour: Tensor, meaning: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
        weight = torch.full((len(target),), 1 / len(target), device=target.device)
        contrast = weight.new_zeros(())
        for part in torch.randperm(len(target), generator=generator).to(target.device).split(self.contrast_items):
            same, first = _alike(target[part])
            related = same | ~_is_first(first)
            contrast = contrast + info_nce(
                behaviour[part], meaning[part], first, related, self.temperature, weight[part]
            )
        return 0.4 * contrast + 0.1 * mean_distance(behaviour, meaning, weight)

    def _align_users(self, readout: Tensor, meaning: Tensor, slot: Tensor, cluster: Tensor, weight: Tensor) -> Tensor:
        _, first = _alike(slot)
        related = (cluster.unsqueeze(1) == cluster) | ~_is_first(first) | (cluster < 0)
        contrast = info_nce(readout, meaning, first, related, self.temperature, weight)
        return 0.4 * contrast + 0.1 * mean_distance(readout, meaning, weight)


def _alike(of: Tensor) -> tuple[Tensor, Tensor]:
    """Which positions are of the same thing [P, P], and the first position that is of the same thing as each [P]."""
    same = of.unsqueeze(1) == of
    return same, same.to(torch.uint8).argmax(dim=1)


def _is_first(first: Tensor) -> Tensor:
    """Positions [P] that are the first of their thing."""
    return first == torch.arange(len(first), device=first.device)


def hard_readout(interests: Tensor, item_vectors: Tensor, target: Tensor) -> Tensor:
    """r = V[argmax_k <V_k, e_target>], [P, D], from interests [P, K, D], item vectors [N, D] and targets [P] (training
    only)."""
    if interests.shape[1] == 1:
        return interests[:, 0]
    with torch.no_grad():
        best = torch.einsum("pkd,pd->pk", interests, item_vectors[target - 1]).argmax(dim=1)
    return interests[torch.arange(len(interests), device=interests.device), best]
