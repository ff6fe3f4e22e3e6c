"""BSARec trained as its paper does it, to see what our deviations cost (eimf/backbones/bsarec.py names them).

    python tests/studies/bsarec_prefixes.py artifacts/dataset/KEY --weight-decay 0.3

Every prefix of a training history is an example of its own, which the last place predicts from. So positions are
counted from the end, and the filter may be the whole one: every place sees later ones. An epoch takes about four
times as long as ours. Otherwise as weight-decay.toml: plain, seed 1, 25 epochs, learning rate .004 that falls by a
cosine, bfloat16, some 2,048 targets a step, one thread.

Shapes: P prefixes, B of a batch, T their longest, D width, L = 50.
"""

import argparse
import sys
from pathlib import Path

from eimf.config import RuntimeSettings
from pipeline.backends.device import prepare_torch

prepare_torch(RuntimeSettings(threads=1))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from eimf import schema  # noqa: E402
from eimf.backbones.bsarec import BSARec, FilterBlock, low_pass  # noqa: E402
from eimf.backbones.layers.dropout import dropout  # noqa: E402
from eimf.config import TrainSettings  # noqa: E402
from eimf.data.histories import Histories  # noqa: E402
from eimf.evaluation.rank_users import mean_metric, rank_users  # noqa: E402
from eimf.losses.logit_blocks import MatmulOptions  # noqa: E402
from eimf.losses.softmax import cross_entropy  # noqa: E402
from eimf.store.artifact import Store  # noqa: E402
from eimf.train.optimizer import Optimizer  # noqa: E402
from pipeline.stages.load import histories_of  # noqa: E402

LENGTH, BATCH, PARTS = 50, 2048, 16


class WholeFilter(BSARec):
    """BSARec of the last place only, with all of the paper's filter before it."""

    def __init__(self, num_items: int) -> None:
        super().__init__(num_items=num_items, width=64, max_length=LENGTH, dropout=0.5)
        impulse = low_pass(LENGTH, cutoff=5)[:, 0]
        place = torch.arange(LENGTH)
        self.low_pass = impulse[(place.unsqueeze(1) - place) % LENGTH]  # [L, L]

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """Interests [B, 1, D] after histories [B, T] padded at the end."""
        start = items.shape[1] - lengths.unsqueeze(1)
        place = torch.arange(items.shape[1]) - start
        shown = items.gather(1, place.clamp(min=0)).masked_fill(place < 0, 0)  # padded at the start
        return self.last(shown, place < 0).unsqueeze(1)

    def last(self, items: Tensor, padding: Tensor) -> Tensor:
        """The last place's vector [B, D] of histories [B, T] padded at the start, where `padding` [B, T] is True."""
        length = items.shape[1]
        x = self.norm(self.item_table(items) + self.position[LENGTH - length :])
        x = dropout(x, self.dropout, self.training).masked_fill(padding.unsqueeze(2), 0)  # [B, T, D]
        unseen = padding.unsqueeze(1) | torch.ones(length, length, dtype=torch.bool).triu(1)  # [B, T, T]
        for block in self.blocks:
            assert isinstance(block, FilterBlock)
            low = self.low_pass[LENGTH - length :, LENGTH - length :] @ x
            x = block._mix(x, low, self._attend(block, x, unseen)).masked_fill(padding.unsqueeze(2), 0)
        return x[:, -1]

    def _attend(self, block: FilterBlock, x: Tensor, unseen: Tensor) -> Tensor:
        query, key, value = block.to_qkv(x).chunk(3, dim=2)  # one head
        scores = (query @ key.mT * query.shape[2] ** -0.5).masked_fill(unseen, -1e4)  # padding sees only padding
        return dropout(scores.softmax(dim=2), self.dropout, self.training) @ value


class Prefixes:
    """Every training event but a user's first, with what came before it."""

    def __init__(self, histories: Histories) -> None:
        row, event = histories.first_events(np.arange(histories.num_users), histories.num_train)
        before = event - histories.offsets[row]
        self.items, self.target = histories.item_idx, event[before > 0]  # places in items [P]
        self.shown = before[before > 0].clip(max=LENGTH)  # [P]

    def batch(self, which: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Histories [B, T] padded at the start, their padding [B, T], and what follows them [B]."""
        length = self.shown[which].max()
        place = np.arange(length) - length
        padding = -place > self.shown[which, None]
        items = np.where(padding, 0, self.items[np.maximum(self.target[which, None] + place, 0)])
        return torch.from_numpy(items), torch.from_numpy(padding), torch.from_numpy(self.items[self.target[which]])


def train_epoch(model: WholeFilter, optimizer: Optimizer, prefixes: Prefixes, order: np.ndarray, begin: int) -> None:
    """One pass over the prefixes in the given order, after `begin` epochs."""
    model.train()
    steps = -(-len(order) // BATCH)
    for step in range(steps):
        chosen = order[step * BATCH : (step + 1) * BATCH]
        optimizer.zero_grad()
        for part in np.array_split(chosen[prefixes.shown[chosen].argsort()], PARTS):  # of like length
            items, padding, target = prefixes.batch(part)
            share = torch.full((len(part),), 1 / len(chosen))
            hidden = model.last(items, padding)
            cross_entropy(hidden, model.item_vectors, target - 1, share, MatmulOptions(256, bf16=True)).backward()
        optimizer.step(begin + step / steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", type=Path, help="folder of a dataset artifact: STORE/dataset/KEY")
    parser.add_argument("--weight-decay", type=float, default=0.0)
    options = parser.parse_args()
    settings = TrainSettings(
        lr=0.004, schedule="cosine", epochs=25, warmup_epochs=0.5, seed=1, weight_decay=options.weight_decay
    )
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    store = Store(options.dataset.resolve().parents[1])
    histories = histories_of({"dataset": store.get("dataset", options.dataset.name)})
    prefixes, model = Prefixes(histories), WholeFilter(histories.num_items)
    optimizer = Optimizer(dict(model.named_parameters()), (), settings)

    def ndcg(split: str) -> float:
        ranking = rank_users(model, histories, split, max_length=LENGTH, keep_seen=False, batch_size=512)
        return mean_metric(ranking, "ndcg", 10)

    for number in range(settings.epochs):
        train_epoch(model, optimizer, prefixes, rng.permutation(len(prefixes.target)), number)
        figures = f"valid ndcg@10 {ndcg(schema.VALID):.4f}  test ndcg@10 {ndcg(schema.TEST):.4f}"
        sys.stdout.write(f"epoch {number + 1}  {figures}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
