"""Full softmax over items that are spread over the processes of a group.

Vocabulary-parallel cross entropy, as in Megatron-LM (arXiv 1909.08053, section 3): every process scores the rows of all
against its own items, and the processes add up their normalizers, a number a row. Nobody holds all logits: they come in
the blocks of `eimf.losses.logit_blocks`. torch's `loss_parallel` is the same idea, but needs all logits at once, and
its labels are single classes: neither soft labels nor blocks.

Shapes: R rows of all processes, n items of this process, D width, m items of a label.
"""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from eimf.losses.base import ItemTable, Sample
from eimf.losses.logit_blocks import LogitBlocks, MatmulOptions
from eimf.losses.soft_labels import SoftLabels
from eimf.parallel.process_group import Group
from eimf.parallel.sharded_table import ShardedTable

_FAR = 40.0
"""A block whose largest logit is so far below the normalizer is scaled before its label is subtracted."""


class ShardedSoftmax:
    """`train.loss = "softmax"` for a spread item table, with the `hardness` of `eimf.losses.hard_softmax`."""

    samples_items = False

    def __init__(self, hardness: float, matmul: MatmulOptions, group: Group) -> None:
        self.hardness, self.matmul, self.group = hardness, matmul, group

    def sample(self, target_row: Tensor, generator: torch.Generator) -> Sample | None:
        return None

    def __call__(
        self,
        readout: Tensor,
        items: ItemTable,
        target_row: Tensor,
        weight: Tensor,
        sample: Sample | None,
        soft: SoftLabels | None,
    ) -> dict[str, Tensor]:
        table = items.item_table  # type: ignore[attr-defined]
        assert isinstance(table, ShardedTable)
        counts = self.group.values(len(readout))
        label, shares = target_row.unsqueeze(1), torch.ones_like(weight).unsqueeze(1)
        if soft is not None:
            label = torch.cat([label, soft.rows], dim=1)
            shares = torch.cat([1 - soft.shares.sum(dim=1, keepdim=True), soft.shares], dim=1)
        hidden, weight, label, shares = (self.group.gather(rows, counts) for rows in (readout, weight, label, shares))
        own = table.items
        is_own = (label >= own.start) & (label < own.stop)
        label, shares = (label - own.start).clamp(0, own.stop - own.start - 1), shares * is_own
        vectors, block_rows = table.item_weight, self.matmul.block(table.rows.most, weight.device)
        factor = 1 + self.hardness
        loss, scores = _Softmax.apply(
            factor * hidden, vectors, weight, label, shares / factor, block_rows, self.matmul, self.group
        )
        if self.hardness:
            none = torch.zeros_like(shares)
            importance, _ = _Softmax.apply(
                self.hardness * hidden, vectors, weight, label, none, block_rows, self.matmul, self.group
            )
            share = math.log(items.num_items) / self.group.size
            loss = loss - importance + share * weight.sum()
            return {"loss": loss, "rec": loss}
        if soft is None:
            return {"loss": loss, "rec": loss}
        # The plain loss: the target's score in the place of the label's.
        added = (weight * (scores[:, 0] * is_own[:, 0] - (shares * scores).sum(dim=1))).sum()
        return {"loss": loss, "rec": loss - added, "soft": added}


class _Softmax(torch.autograd.Function):
    """This process's part of sum_r weight_r * (logsumexp_j <hidden_r, e_j> - sum_i shares_ri <hidden_r, e_label_ri>),
    over the items j of all processes; `label` [R, m] are rows of its own `table` [n, D], with `shares` [R, m] of 0 for
    items of others. The second result are the labels' scores [R, m]. Its gradient of `hidden` is a part, too."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        weight: Tensor,
        label: Tensor,
        shares: Tensor,
        block_rows: int,
        matmul: MatmulOptions,
        group: Group,
    ) -> tuple[Tensor, Tensor]:
        hidden_grad, log_normalizers = torch.empty_like(hidden), torch.empty_like(weight)
        scores = torch.empty_like(shares)
        logits = LogitBlocks(hidden, table, block_rows, matmul)
        transposed_grad = table.new_zeros(logits.transposed.shape)
        for part, block in logits:
            scores[part] = block.gather(1, label[part]).to(hidden.dtype) * math.log(2)
            normalizer, peak = logits.exponentiate(block)
            log_normalizers[part] = _log_of_all(normalizer.log() + peak, group)
            shift = peak - log_normalizers[part]  # [rows]: block * exp(shift) are probabilities
            if shift.numel() and float(shift.amin()) < -_FAR:
                block.mul_(shift.exp().unsqueeze(1).to(block.dtype))
                shift = torch.zeros_like(shift)
            block.scatter_add_(1, label[part], (-shares[part] * (-shift).exp().unsqueeze(1)).to(block.dtype))
            scale = (weight[part] * shift.exp()).unsqueeze(1).to(hidden.dtype)  # block * scale: the logits' gradient
            torch.mul(torch.mm(block, logits.factors), scale, out=hidden_grad[part])
            transposed_grad += torch.mm(matmul.cast(hidden[part] * scale).T, block)
        total = (weight * log_normalizers).sum(dtype=torch.float64) / group.size
        total -= (weight * (shares * scores).sum(dim=1)).sum()
        ctx.save_for_backward(hidden_grad, transposed_grad[:, : len(table)].T.contiguous())
        ctx.mark_non_differentiable(scores)
        return total.to(hidden.dtype), scores

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, table_grad = ctx.saved_tensors
        return hidden_grad * grads[0], table_grad * grads[0], None, None, None, None, None, None


def _log_of_all(log_normalizer: Tensor, group: Group) -> Tensor:
    """The logarithm of the sum of all processes' normalizers, from that of this one's, [rows]."""
    logs = [torch.empty_like(log_normalizer) for _ in range(group.size)]
    dist.all_gather(logs, log_normalizer.contiguous(), group=group.tensors)
    return torch.stack(logs).logsumexp(dim=0)
