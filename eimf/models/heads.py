"""The two auxiliary tasks of EIMF: modality alignment and semantic prediction (METHOD, stage two).

arXiv 2411.09410; what the abstract leaves open follows METHOD. Used in training only: serving needs the backbone
alone.
Our decisions: one learned projection from S serves items and interests, so equal texts have equal vectors (fault
1); the text tables are buffers that no initialisation touches (fault 2); contrastive terms run over the *distinct*
texts and items of a batch, weighted by how often they occur, and texts of one cluster are no negatives of each
other (fault 8).

Shapes: P target positions of a batch, M interests of a cluster, C clusters, U distinct readouts, I distinct
targets, D width, S text width, N items.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
        item_align = self._align_items(vectors_of, target, generator)
        known = cluster >= 0
        if not bool(known.any()):
            return item_align, item_align.new_zeros(())
        share = known.float().mean()
        own = self.project(self.item_text[target[known] - 1])  # [P, D]
        readouts, row, row_cluster = self._read_texts(own, cluster[known])  # [U, D], [P], [U]
        semantic = share * self._predict(readouts, row, own, target[known], sample, products)
        user_align = self._align_users(readout[known], self.to_behaviour(readouts), row, row_cluster)
        return item_align + share * user_align, semantic

    def _read_texts(self, own: Tensor, cluster: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hard readout by the target's text. Only C * M different readouts exist: the distinct ones [U, D], which
        of them each position reads [P], and the cluster of each [U]."""
        clusters, place = cluster.unique(return_inverse=True)
        branch = self._text_branch(self.semantics[clusters], self.present[clusters])  # [C', M, D]
        with torch.no_grad():
            match = torch.einsum("pmd,pd->pm", branch[place], own)
        best = match.masked_fill(~self.present[cluster], -torch.inf).argmax(dim=1)  # [P]
        slots, row = (place * branch.shape[1] + best).unique(return_inverse=True)
        return branch.flatten(0, 1)[slots], row, clusters[slots // branch.shape[1]]

    def _text_branch(self, semantics: Tensor, present: Tensor) -> Tensor:
        """Projected interests and their masked self-attention, with a residual: [C', M, S] to [C', M, D]."""
        projected = self.project(semantics)
        mixed, _ = self.attention(projected, projected, projected, key_padding_mask=~present, need_weights=False)
        return projected + mixed

    def _predict(
        self, readouts: Tensor, row: Tensor, own: Tensor, target: Tensor, sample: Sample | None, products: Products
    ) -> Tensor:
        """Cross entropy of <readouts[row], x_j> over all items j at the target, whose projected text is `own`; mean
        over positions. Each distinct readout is scored once."""
        if sample is not None:
            each = torch.full((len(row),), 1 / len(row), device=row.device)
            drawn = self.project(self.item_text[sample.items - 1])
            return sampled_cross_entropy(rows_of(readouts, row), own, drawn, target, sample, each)
        weight = torch.bincount(row, minlength=len(readouts)).to(own.dtype) / len(row)
        table = self.project(self.item_text)  # [N, D]
        mass = weighted_logsumexp(readouts, table, weight, products)
        return mass - (rows_of(readouts, row) * own).sum(dim=1).mean()

    def _align_items(
        self, vectors_of: Callable[[Tensor], Tensor], target: Tensor, generator: torch.Generator
    ) -> Tensor:
        items, counts = target.unique(return_counts=True)
        behaviour = vectors_of(items)  # [I, D]
        meaning = self.to_behaviour(self.project(self.item_text[items - 1]))
        weight = counts / counts.sum()
        contrast = weight.new_zeros(())
        for part in torch.randperm(len(items), generator=generator).to(items.device).split(self.contrast_items):
            own = torch.arange(len(part), device=items.device)
            contrast = contrast + info_nce(behaviour[part], meaning[part], own, None, self.temperature, weight[part])
        return 0.4 * contrast + 0.1 * mean_distance(behaviour, meaning, weight)

    def _align_users(self, readout: Tensor, meaning: Tensor, row: Tensor, row_cluster: Tensor) -> Tensor:
        weight = torch.full((len(readout),), 1 / len(readout), device=readout.device)
        same_cluster = row_cluster[row].unsqueeze(1) == row_cluster.unsqueeze(0)  # [P, U]
        contrast = info_nce(readout, meaning, row, same_cluster, self.temperature, weight)
        return 0.4 * contrast + 0.1 * mean_distance(readout, rows_of(meaning, row), weight)


def rows_of(table: Tensor, index: Tensor) -> Tensor:
    """`table[index]` for rows taken more than once. The gradient of plain indexing is added up by several threads in no
    fixed order on a CPU, so a training would not repeat itself bit for bit; that of an embedding is in order."""
    return F.embedding(index, table)


def hard_readout(interests: Tensor, item_vectors: Tensor, target: Tensor) -> Tensor:
    """r = V[argmax_k <V_k, e_target>], [P, D], from interests [P, K, D], item vectors [N, D] and targets [P] (training
    only)."""
    if interests.shape[1] == 1:
        return interests[:, 0]
    with torch.no_grad():
        best = torch.einsum("pkd,pd->pk", interests, item_vectors[target - 1]).argmax(dim=1)
    return interests[torch.arange(len(interests), device=interests.device), best]
